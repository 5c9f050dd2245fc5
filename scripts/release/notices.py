#!/usr/bin/env python3
"""Prints the licences of all code of others in the published program, which they require beside it.

    scripts/release/notices.py >THIRD-PARTY.txt

The crates are those that `cargo tree` lists for Linux, without those of tests, of macros and of the build. The files of the pages have their
licences in web/. musl, the C library of the program, is under the MIT licence: https://musl.libc.org
"""

import json
import pathlib
import re
import subprocess

NAMES = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)
TARGETS = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"]


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], check=True, capture_output=True, text=True).stdout


def published():
    """The names and versions of the crates that are compiled into the program."""
    found = set()
    for target in TARGETS:
        tree = cargo("tree", "--locked", "--package", "orders", "--edges", "normal,no-proc-macro", "--target", target,
                     "--prefix", "none", "--format", "{p}")
        for line in tree.splitlines():
            name, version = line.split()[:2]
            found.add((name, version.removeprefix("v")))
    return found


def main():
    packages = json.loads(cargo("metadata", "--locked", "--format-version", "1"))["packages"]
    used = published()
    texts = {}
    for package in sorted(packages, key=lambda package: (package["name"], package["version"])):
        # Crates of this repository have no source: its licence is LICENSE.
        if package["source"] is None or (package["name"], package["version"]) not in used:
            continue
        folder = pathlib.Path(package["manifest_path"]).parent
        files = [file for file in sorted(folder.iterdir()) if file.is_file() and NAMES.match(file.name)]
        name = f'{package["name"]} {package["version"]} ({package["license"] or package["license_file"]})'
        if not files:
            texts.setdefault(f'{package["name"]} names its licence only: {package["license"]}\n', []).append(name)
        for file in files:
            texts.setdefault(file.read_text(errors="replace").strip() + "\n", []).append(name)
    for file in sorted(pathlib.Path("web").rglob("*")):
        if file.is_file() and NAMES.match(file.name):
            texts.setdefault(file.read_text(errors="replace").strip() + "\n", []).append(str(file))
    print("The program contains these crates and files, with the following licences. It also contains musl (MIT).\n")
    for text, names in texts.items():
        print("=" * 100 + "\n" + "\n".join(names) + "\n" + "-" * 100 + "\n" + text)


if __name__ == "__main__":
    main()
