"""Clients that openapi-generator makes from the description: built and used as far as Debian, PyPI and npm have what they
are built with."""

import json
import subprocess

# The generator itself is in its package of PyPI; it needs Java, and brings the Jackson that Java's clients use.
PACKAGES = ["openapi-generator-cli==7.26.0"]
LINTERS = ["@redocly/cli@2.77.0", "@stoplight/spectral-cli@6.16.3", "typescript@5.9.3", "esbuild@0.28.2", "@types/node@20.19.43"]

PYTHON = """
import json, sys
import openapi_client as c
d = json.loads(sys.argv[1])
card = d["cards"][0]
bearer = c.ApiClient(c.Configuration(host=d["merchant_url"], access_token=d["api_key"]))
token = c.NativeApi(bearer).create_client_token(c.ClientTokenInput(card_no=card["card_no"])).token
assert token.startswith("cvt_test_"), token
key = "ApiKey " + d["equals_api_key"]
equals = c.EqualsMoneyApi(c.ApiClient(c.Configuration(host=d["merchant_url"]), "Authorization", key))
assert equals.get_client_token(card["card_id"], card["account_id"]).token.startswith("cvt_test_")
"""

TYPESCRIPT = """
import { Configuration, EqualsMoneyApi, NativeApi } from "./index";
const d = JSON.parse(process.argv[2]!);
const card = d.cards[0];
const bearer = new NativeApi(new Configuration({ basePath: d.merchant_url, accessToken: d.api_key }));
const made = await bearer.createClientToken({ clientTokenInput: { cardNo: card.card_no } });
const equals = new EqualsMoneyApi(new Configuration({ basePath: d.merchant_url, apiKey: `ApiKey ${d.equals_api_key}` }));
const got = await equals.getClientToken({ cardId: card.card_id, accountId: card.account_id });
for (const { token } of [made, got]) if (!token.startsWith("cvt_test_")) throw new Error(token);
"""

JAVA = """
import com.fasterxml.jackson.databind.*;
import java.util.UUID;
import org.openapitools.client.ApiClient;
import org.openapitools.client.api.*;
import org.openapitools.client.model.*;
class Use {
  static ApiClient client(JsonNode demo, String authorization) {
    ApiClient client = new ApiClient();
    client.updateBaseUri(demo.get("merchant_url").asText());
    return client.setRequestInterceptor(request -> request.header("Authorization", authorization));
  }
  public static void main(String[] given) throws Exception {
    JsonNode demo = new ObjectMapper().readTree(given[0]), card = demo.get("cards").get(0);
    NativeApi bearer = new NativeApi(client(demo, "Bearer " + demo.get("api_key").asText()));
    ClientTokenInput input = new ClientTokenInput().cardNo(card.get("card_no").asText()).addFieldsItem(CardField.PAN);
    EqualsMoneyApi equals = new EqualsMoneyApi(client(demo, "ApiKey " + demo.get("equals_api_key").asText()));
    UUID id = UUID.fromString(card.get("card_id").asText());
    String[] tokens = { bearer.createClientToken(input, null).getToken(),
      equals.getClientToken(id, card.get("account_id").asText(), null, null, null, null).getToken() };
    for (String token : tokens) if (!token.startsWith("cvt_test_")) throw new AssertionError(token);
  }
}
"""
# Of Debian's libjakarta-annotation-api-java.
ANNOTATIONS = "/usr/share/java/jakarta-annotation-api.jar"


def check(tools, node, demo, work, document):
    """What failed."""
    failed = []

    def ran(name, *command, cwd=work):
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
        if done.returncode != 0:
            print((done.stdout + done.stderr)[-3000:], flush=True)
            failed.append(name)
        return done.returncode == 0

    def made(generator, *options):
        out = work / f"generated-{generator}"
        names = ["--git-user-id", "example", "--git-repo-id", "cardveil"]
        print(f"== openapi-generator: {generator}", flush=True)
        command = ["generate", "-q", "-i", document, "-g", generator, "-o", out, *names, *options]
        return out if ran(f"{generator}, generated", tools / "openapi-generator-cli", *command) else None

    print("== redocly, spectral", flush=True)
    ran("redocly", node / "redocly", "lint", document)
    (work / ".spectral.yaml").write_text('extends: ["spectral:oas"]\n')
    ran("spectral", node / "spectral", "lint", "--fail-severity", "warn", "--ruleset", work / ".spectral.yaml", document)
    if out := made("python"):
        if ran("python, built", tools / "pip", "install", "--quiet", "--disable-pip-version-check", out):
            ran("python, used", tools / "python", "-c", PYTHON, json.dumps(demo))
    if out := made("typescript-fetch"):
        (out / "use.ts").write_text(TYPESCRIPT)
        options = ["--noEmit", "--strict", "--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler"]
        types = ["--lib", "es2022,dom", "--types", "node", "--typeRoots", node.parent / "@types"]
        ran("typescript, built", node / "tsc", *options, *types, "use.ts", cwd=out)
        bundle = ["use.ts", "--bundle", "--platform=node", "--format=esm", "--outfile=use.mjs"]
        if ran("typescript, bundled", node / "esbuild", *bundle, cwd=out):
            ran("typescript, used", "node", "use.mjs", json.dumps(demo), cwd=out)
    if out := made("go"):
        # Its tests want a module of their own name.
        ran("go, built", "go", "build", ".", cwd=out)
    if out := made("java", "--library", "native", "--additional-properties=openApiNullable=false,useJakartaEe=true"):
        (jar,) = tools.parent.glob("lib/python*/site-packages/openapi_generator_cli/openapi-generator.jar")
        (out / "Use.java").write_text(JAVA)
        libraries = f"{jar}:{ANNOTATIONS}"
        sources = [*out.glob("src/main/java/**/*.java"), "Use.java"]
        if ran("java, built", "javac", "-nowarn", "-d", "built", "-cp", libraries, *sources, cwd=out):
            ran("java, used", "java", "-cp", f"{libraries}:built", "Use", json.dumps(demo), cwd=out)
    # C#'s is made and not built: docs/reports/conformance.md says what that lacks.
    made("csharp")
    return failed
