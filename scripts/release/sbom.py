#!/usr/bin/env python3
"""Reads the bill of materials of cargo-cyclonedx, completes and checks it, and prints it.

    scripts/release/sbom.py COPY VERSION <sbom.json >orders-VERSION.cdx.json

COPY is the folder with the copy of the repository, which is in the identifiers of its crates. Its serial number, time and these
identifiers become the same for each run. The document must fit its schema (scripts/release/sbom-requirements.txt) and list every
crate that is compiled into the program.
"""

import datetime
import json
import os
import sys
import uuid

from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator

from notices import published


def main():
    copy, version = sys.argv[1:]
    text = sys.stdin.read().replace(f"path+file://{copy}", "path+file:///orders")
    document = json.loads(text)
    time = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    document["metadata"]["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ")
    document.pop("serialNumber", None)
    content = json.dumps(document, sort_keys=True)
    if copy in content:
        sys.exit(f"error: the bill of materials contains the path {copy}")
    document = {"serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, content).urn, **document}

    component = document["metadata"]["component"]
    if (component["name"], component["version"]) != ("orders", version):
        sys.exit(f"error: the bill of materials is for {component['name']} {component['version']}")
    listed = {(crate["name"], crate["version"]) for crate in document["components"]} | {("orders", version)}
    missing = published() - listed
    if missing:
        sys.exit(f"error: the bill of materials lacks {sorted(missing)}")
    text = json.dumps(document, indent=1)
    problem = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_5).validate_str(text)
    if problem is not None:
        sys.exit(f"error: the bill of materials does not fit its schema: {problem}")
    print(text)
    print(f"== {len(listed)} crates; the schema of CycloneDX 1.5 fits", file=sys.stderr)


if __name__ == "__main__":
    main()
