/** A first call of each operation, in curl, made of the description itself. */

export interface Schema {
  $ref?: string;
  type?: string | string[];
  example?: unknown;
  examples?: unknown[];
  enum?: unknown[];
  default?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  allOf?: Schema[];
  oneOf?: Schema[];
}

export interface Operation {
  operationId?: string;
  tags?: string[];
  security?: Record<string, unknown>[];
  parameters?: {
    name: string;
    in: string;
    required?: boolean;
    example?: unknown;
    schema?: Schema;
  }[];
  requestBody?: { content: Record<string, { example?: unknown; schema?: Schema }> };
  "x-codeSamples"?: { lang: string; label: string; source: string }[];
}

export interface Description {
  info?: { description?: string };
  servers: { url: string; description?: string }[];
  paths: Record<string, Record<string, Operation>>;
  components?: { schemas?: Record<string, Schema> };
}

const METHODS = ["get", "put", "post", "patch", "delete"];

/** What a credential looks like in a shell; nobody's own is ever put there. */
const HEADERS: Record<string, string[]> = {
  native: ["Authorization: Bearer $API_KEY"],
  CommonAuth: ["Authorization: ApiKey $API_KEY"],
  keysecure_login: ["Api-Key: $API_KEY", "Timestamp: $(date +%s%3N)"],
  keysecure: ["Api-Key: $API_KEY", "Timestamp: $(date +%s%3N)", "Access-Token: $ACCESS_TOKEN"],
};

/**
 * Puts the listeners where they are: the operators' is where the page comes from, which knows where
 * the cardholders' is. That for servers is 20 ports before a demo's; that of a live deployment has
 * whatever name its own network gives it, and keeps one to replace.
 */
export function placeServers(
  { servers, info }: Description,
  { origin, hostname, port }: Pick<Location, "origin" | "hostname" | "port">,
  client: string,
): void {
  const demo = ["127.0.0.1", "localhost", "admin.localhost"].includes(hostname) && port !== "";
  const merchant = demo
    ? `http://127.0.0.1:${Number(port) - 20}`
    : "https://cardveil-merchant.example";
  const urls = [merchant, client, origin];
  servers.forEach((server, at) => {
    const url = urls[at] ?? server.url;
    // The first call of all is in the words of the description.
    if (info?.description !== undefined)
      info.description = info.description.replaceAll(server.url, url);
    server.url = url;
  });
}

/** Puts a sample into each operation. */
export function addSamples(description: Description): void {
  for (const [path, operations] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      if (METHODS.includes(method))
        operation["x-codeSamples"] = [
          { lang: "shell", label: "curl", source: curl(description, path, method, operation) },
        ];
    }
  }
}

function curl(
  description: Description,
  path: string,
  method: string,
  operation: Operation,
): string {
  const { parameters = [], requestBody } = operation;
  const value = ({ example, schema }: { example?: unknown; schema?: Schema }) =>
    String(example ?? exampleOf(description, schema ?? {}) ?? "...");
  const at = parameters
    .filter((parameter) => parameter.in === "path")
    .reduce((at, parameter) => at.replace(`{${parameter.name}}`, value(parameter)), path);
  const query = parameters.filter(
    (parameter) => parameter.in === "query" && parameter.required === true,
  );
  const asked = query
    .map((parameter) => `${parameter.name}=${encodeURIComponent(value(parameter))}`)
    .join("&");
  const url = `${serverOf(description, operation)}${at}${asked === "" ? "" : `?${asked}`}`;
  const [security = {}] = operation.security ?? [];
  const headers = Object.keys(security).flatMap((scheme) => HEADERS[scheme] ?? []);
  const body = requestBody?.content["application/json"];
  const lines = [
    `curl ${asked === "" ? url : quote(url)}`,
    ...headers.map((header) => `-H "${header}"`),
  ];
  if (body !== undefined) {
    lines.push(
      "-H 'Content-Type: application/json'",
      `-d ${quote(JSON.stringify(body.example ?? exampleOf(description, body.schema ?? {})))}`,
    );
  }
  if (method !== (body === undefined ? "get" : "post"))
    lines[0] = lines[0]?.replace("curl ", `curl -X ${method.toUpperCase()} `) ?? "";
  return lines.join(" \\\n  ");
}

/** The listeners stand in this order: for servers, for browsers and apps, for operators. */
function serverOf({ servers }: Description, { tags = [] }: Operation): string {
  const at = tags.includes("Client") ? 1 : tags.includes("Admin") ? 2 : 0;
  return servers[at]?.url ?? "";
}

/** The least that a schema asks for. */
function exampleOf(description: Description, schema: Schema): unknown {
  const { $ref, allOf, oneOf, examples, properties, required = [], items } = schema;
  if ($ref !== undefined)
    return exampleOf(
      description,
      description.components?.schemas?.[$ref.split("/").at(-1) ?? ""] ?? {},
    );
  const said = schema.example ?? examples?.[0] ?? schema.default ?? schema.enum?.[0];
  if (said !== undefined) return said;
  if (allOf !== undefined)
    return Object.assign({}, ...allOf.map((part) => exampleOf(description, part)));
  if (oneOf?.[0] !== undefined) return exampleOf(description, oneOf[0]);
  if (items !== undefined) return [exampleOf(description, items)];
  if (properties !== undefined) {
    const members = Object.entries(properties).filter(([name]) => required.includes(name));
    return Object.fromEntries(
      members.map(([name, member]) => [name, exampleOf(description, member)]),
    );
  }
  return [schema.type].flat().includes("integer")
    ? 1
    : [schema.type].flat().includes("boolean")
      ? true
      : "...";
}

const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
