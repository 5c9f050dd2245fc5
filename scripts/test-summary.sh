#!/usr/bin/env bash
# Runs `cargo test …`, repeats the messages of failed tests at the end, and adds one last line, because cargo has a
# summary for each test binary only:
#
#   12 passed, 0 failed, 1 skipped
#
# The exit status is that of cargo. A test binary that ends without a summary counts as one failure.
set -uo pipefail

"$@" 2>&1 | awk -v OFS= '
  { print; fflush() }
  /^test result: / {
    for (i = 2; i < NF; i++) {
      if ($(i + 1) == "passed;") passed += $i
      if ($(i + 1) == "failed;") failed += $i
      if ($(i + 1) == "ignored;") skipped += $i
    }
  }
  /^error: could not compile|process didn.t exit successfully.*signal/ { died++ }
  # cargo prints the output of each failed test below a line with its name.
  /^---- .* stdout ----$/ { name = $2; rest = 0 }
  /^failures:$/ { name = "" }
  name && / panicked at / { messages = messages "\n" name "\n"; rest = 8 }
  /^stack backtrace:/ { rest = 0 }
  rest { messages = messages "  " substr($0, 1, 500) "\n"; rest-- }
  END {
    if (messages) print "\nMessages of failed tests:\n", messages
    print "\n", passed + 0, " passed, ", failed + died, " failed", skipped ? ", " skipped " skipped" : ""
  }'
exit "${PIPESTATUS[0]}"
