"""Two generators of clients, as `make conformance` has them make, build and use clients of docs/openapi.json."""

import sys

import rotation

sys.path.append(str(rotation.ROOT / "scripts/conformance"))
import generators
import run as conformance


def openapi(folder):
    tools, document = conformance.install(), rotation.ROOT / "docs/openapi.json"
    with conformance.Demo(rotation.BINARY, folder) as demo:
        used = conformance.generated_client(tools, demo, folder, document, demo["merchant_url"])
        assert used, "openapi-python-client"
        failed = generators.check(tools, conformance.TOOLS / "node/node_modules/.bin", demo, folder, document)
        assert not failed, failed
    versions = dict(package.split("==") for package in conformance.PACKAGES)
    names = ("openapi-generator-cli", "openapi-python-client")
    return ", ".join(f"{name} {versions[name]}" for name in names), "what docs/reports/conformance.md says of them holds"
