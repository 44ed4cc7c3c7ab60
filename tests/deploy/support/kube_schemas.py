"""Whether an object is what its kind may be, strictly: an unknown field is an error.

Kinds of Kubernetes itself by kubernetes-validate, custom kinds by the schemas in ../schemas.
"""

import functools
import json
from pathlib import Path

import jsonschema
import kubernetes_validate

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"
# The oldest and the newest that are supported.
VERSIONS = ["1.34", "1.37"]


@functools.cache
def custom(api_version, kind):
    """The validator of a custom kind, or None."""
    path = SCHEMAS / f"{api_version.replace('/', '_')}_{kind}.json".lower()
    return jsonschema.Draft7Validator(json.loads(path.read_text())) if path.is_file() else None


def faults(item, version):
    """What is wrong with an object, in one line each."""
    return faults_of_text(json.dumps(item, sort_keys=True), version)


@functools.cache
def faults_of_text(text, version):
    """The same, once for what is in many renderings."""
    item = json.loads(text)
    validator = custom(item["apiVersion"], item["kind"])
    if validator:
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(item)]
    try:
        used = kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError:
        return [f"no schema for {item['apiVersion']} {item['kind']}: not in {version}, nor in tests/deploy/schemas"]
    return [] if used == version else [f"the schemas of {version} are not there, only those of {used}"]
