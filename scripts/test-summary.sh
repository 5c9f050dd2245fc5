#!/usr/bin/env bash
# Runs `cargo test …` and adds one last line, because cargo has a summary for each test binary only:
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
  END { print "\n", passed + 0, " passed, ", failed + died, " failed", skipped ? ", " skipped " skipped" : "" }'
exit "${PIPESTATUS[0]}"
