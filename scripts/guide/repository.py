#!/usr/bin/env python3
"""A preprocessor of mdBook: adds the documents outside of docs/ to the guide, and changes the links that leave docs/.

A link to a document becomes a link to its page. The guide contains no source files, so a link to one becomes its path,
and only the images of docs/. mdBook starts this program and exchanges the book as JSON on stdin and stdout.
"""

import json
import os
import posixpath
import re
import sys

# Documents outside of docs/: the page in the guide, the title, and the part of the guide, at its beginning or end.
DOCUMENTS = {
    "README.md": ("index.md", "Overview", None, "beginning"),
    "ARCHITECTURE.md": ("internals/architecture.md", "Architecture", "Internals", "beginning"),
    "BENCHMARKS.md": ("internals/benchmarks.md", "Benchmarks", "Internals", "end"),
    "bench/README.md": ("internals/bench.md", "Method of the benchmarks", "Internals", "end"),
    "CONTRIBUTING.md": ("contribute/contributing.md", "Contributing", "Contribute", "beginning"),
    "SECURITY.md": ("contribute/security.md", "Security", "Contribute", "end"),
    "CHANGELOG.md": ("contribute/changelog.md", "Changelog", "Contribute", "end"),
}

CODE = r"^[ \t]*```.*?^[ \t]*```[ \t]*$|`[^`\n]*`"
LINK = re.compile(
    rf"(?P<code>{CODE})"
    r"|(?P<image>!)?\[(?P<text>(?:[^\[\]`]|`[^`]*`)*)\]\((?P<target>[^()\s]+)\)"
    r"|(?P<attribute>(?:src|srcset|href)=\")(?P<file>[^\"]+)\"",
    re.DOTALL | re.MULTILINE,
)


def page_of(path):
    """The page in the guide of a file of the repository, or None."""
    if path in DOCUMENTS:
        return DOCUMENTS[path][0]
    if path == "docs/SUMMARY.md":
        return "toc.html"
    if not path.startswith("docs/"):
        return None
    page = path.removeprefix("docs/")
    return posixpath.join(posixpath.dirname(page), "index.md") if posixpath.basename(page) == "README.md" else page


def with_links(content, source, page):
    """The content with the links of the file `source` as they are in the guide at `page`."""

    def resolve(target):
        """The path in the repository, and the link in the guide or None."""
        file, hash_sign, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), file))
        found = page_of(path)
        if found is None:
            return path, None
        return path, posixpath.relpath(found, posixpath.dirname(page) or ".") + hash_sign + anchor

    def replace(found):
        target = found["target"] or found["file"]
        if found["code"] or target.startswith("#") or ":" in target:
            return found[0]
        path, link = resolve(target)
        if found["attribute"]:
            return f'{found["attribute"]}{link or target}"'
        text = found["text"]
        image = found["image"] or ""
        if link or image:
            return f"{image}[{text}]({link})" if link else ""
        return f"`{path}`" if text.strip("`") == posixpath.basename(path) else f"{text} (`{path}`)"

    return LINK.sub(replace, content)


def chapters(items):
    for item in items:
        if isinstance(item, dict) and "Chapter" in item:
            yield item["Chapter"]
            yield from chapters(item["Chapter"]["sub_items"])


def insert(items, chapter, part, where):
    """Adds a chapter at the beginning or the end of a part; without a part, before all of them."""
    place = 0
    if part:
        place = items.index({"PartTitle": part}) + 1
        if where == "end":
            while place < len(items) and "Chapter" in items[place]:
                place += 1
    items.insert(place, {"Chapter": chapter})


def main():
    root, book = json.load(sys.stdin)
    items = book["items"]
    for chapter in chapters(items):
        source = posixpath.join("docs", chapter["source_path"])
        chapter["content"] = with_links(chapter["content"], source, page_of(source))
    for source, (page, title, part, where) in DOCUMENTS.items():
        with open(os.path.join(root["root"], source), encoding="utf-8") as file:
            content = with_links(file.read(), source, page)
        chapter = {"name": title, "content": content, "number": None, "sub_items": [], "path": page,
                   "source_path": None, "parent_names": []}
        insert(items, chapter, part, where)
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    # mdBook asks `supports RENDERER` first; every renderer is supported.
    if len(sys.argv) < 2:
        main()
