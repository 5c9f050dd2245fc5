"""Reads YAML from standard input and prints its documents as a JSON array.

With --validate OLDEST, every object of a built-in API is validated strictly, so that a misspelt field fails, against the
schemas of that version of Kubernetes and of every later one that kubernetes-validate has. Values of secrets are decoded.
"""

import base64
import functools
import json
import sys

import yaml
from kubernetes_validate import utils

# The groups of resources that operators define, of which Kubernetes has no schema.
CUSTOM = ("keda.sh/", "monitoring.coreos.com/", "kustomize.config.k8s.io/")


class Loader(yaml.SafeLoader):
    """Refuses repeated keys, of which the last one would win."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        repeated = {key for key in keys if keys.count(key) > 1}
        if repeated:
            raise SystemExit(f"repeated keys {sorted(repeated)}{node.start_mark}")
        return super().construct_mapping(node, deep)


# The schemas of a version are parsed once.
utils.schema_contents = functools.cache(utils.schema_contents)


def versions(oldest):
    def number(version):
        return tuple(int(part) for part in version.split(".")[:2])

    return [version for version in utils.all_versions() if number(version) >= number(oldest)]


def validate(document, oldest):
    if document["apiVersion"].startswith(CUSTOM):
        return
    for version in versions(oldest):
        try:
            utils.validate(document, version, strict=True)
        except (utils.ValidationError, utils.SchemaNotFoundError) as error:
            path = ".".join(str(part) for part in getattr(error, "path", []))
            raise SystemExit(f"{utils.kn(document)} in {version}: {path}: {error.message}")


documents = [document for document in yaml.load_all(sys.stdin, Loader) if document is not None]
for document in documents:
    if len(sys.argv) == 3 and sys.argv[1] == "--validate":
        validate(document, sys.argv[2])
    if document.get("kind") == "Secret":
        for key, value in document.pop("data", {}).items():
            document.setdefault("stringData", {})[key] = base64.b64decode(value, validate=True).decode()
json.dump(documents, sys.stdout)
