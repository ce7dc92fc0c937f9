"""Clients that public generators make of docs/openapi.json: they build, and call a demo as a partner's server would."""

import json
import shutil
import subprocess
import venv

import rotation
from conformance import run as conformance

TOOLS = rotation.ROOT / ".tools/neighbours"
TSC = rotation.ROOT / "web/node_modules/.bin/tsc"
PACKAGES = [
    "openapi-generator-cli==7.26.0",
    # What its Python clients ask for.
    "urllib3>=2.7.0,<3", "python-dateutil>=2.8.2", "pydantic>=2.11", "typing-extensions>=4.7.1",
]
PYTHON = """
import json, sys, uuid
import openapi_client
demo = json.loads(sys.argv[1])
card = demo["cards"][0]
settings = openapi_client.Configuration(host=demo["merchant_url"], api_key={"CommonAuth": demo["equals_api_key"]})
api = openapi_client.EqualsMoneyApi(openapi_client.ApiClient(settings))
answer = api.get_client_token(uuid.UUID(card["card_id"]), card["account_id"], uuid.UUID(card["person_id"]))
assert answer.token.startswith("cvt_test_"), answer
try:
    api.get_client_token(uuid.UUID(int=1), card["account_id"])
    sys.exit("an unknown card was answered")
except openapi_client.ApiException as refused:
    assert refused.status == 404, refused
"""
TYPESCRIPT = """
const { Configuration, EqualsMoneyApi } = require('./index.js')
const demo = JSON.parse(process.argv[2])
const { card_id: cardId, account_id: accountId, person_id: personId } = demo.cards[0]
const api = new EqualsMoneyApi(new Configuration({ basePath: demo.merchant_url, apiKey: demo.equals_api_key }))
const status = id => api.getClientTokenRaw({ cardId: id, accountId }).catch(refused => refused.response.status)
const asked = [api.getClientToken({ cardId, accountId, personId }), status('00000000-0000-0000-0000-000000000001')]
Promise.all(asked).then(([answer, unknown]) => {
  if (!answer.token.startsWith('cvt_test_') || unknown !== 404) throw new Error(`${Object.keys(answer)} ${unknown}`)
})
"""


def openapi(folder):
    tools, document = install(), rotation.ROOT / "docs/openapi.json"
    with conformance.Demo(rotation.BINARY, folder) as demo:
        used = conformance.generated_client(conformance.install(), demo, folder, document, demo["merchant_url"])
        assert used, "openapi-python-client"
        out = generated(tools, folder, document, "python")
        ran(tools / "python", "-c", PYTHON, json.dumps(demo), cwd=out)
        out = generated(tools, folder, document, "typescript-fetch")
        ran(TSC, "--strict", "--target", "es2022", "--module", "nodenext", "--outDir", "built", "index.ts", cwd=out)
        (out / "built/use.cjs").write_text(TYPESCRIPT)
        ran("node", out / "built/use.cjs", json.dumps(demo), cwd=out)
    python = next(word for word in conformance.PACKAGES if "client" in word).split("==")[1]
    return f"{PACKAGES[0].split('==')[1]}, openapi-python-client {python}", (
        "clients of Python by both and of TypeScript (fetch) by the first build, get a token, and see 404 for an unknown card"
    )


def install():
    """Made once for these versions."""
    stamp = TOOLS / "installed"
    if not stamp.exists() or stamp.read_text() != "\n".join(PACKAGES):
        shutil.rmtree(TOOLS, ignore_errors=True)
        venv.create(TOOLS, with_pip=True)
        ran(TOOLS / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES, cwd=TOOLS)
        stamp.write_text("\n".join(PACKAGES))
    return TOOLS / "bin"


def generated(tools, folder, document, language):
    out = folder / language
    ran(tools / "openapi-generator-cli", "generate", "-i", document, "-g", language, "-o", out, cwd=folder)
    return out


def ran(*command, cwd):
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
