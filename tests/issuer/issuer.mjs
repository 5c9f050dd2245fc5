// An OpenID issuer for tests: oidc-provider, with access tokens for the resource server `orders`.
//
// It prints two lines: `issuer URL` and `control URL`. The control port answers while the issuer is down:
//
//     GET  /reads     how often the keys were read
//     POST /rotate    replaces the keys
//     POST /down      closes the port of the issuer
//     POST /up        opens it again
//
// A client has the id of its tenant, the secret `secret`, and the grant `client_credentials`. The resource
// `urn:orders:ALGORITHM` selects the algorithm of the token.
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const SCOPES = "orders:read orders:write role:worker";
const TENANTS = ["default", "shop", "unknown"];
const LIFETIME_S = 300;

let reads = 0;
let handle;
const server = createServer((request, response) => {
  if (request.url === "/jwks") reads += 1;
  handle(request, response);
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const { port } = server.address();
const issuer = `http://127.0.0.1:${port}`;

function key(alg, type, options) {
  const jwk = generateKeyPairSync(type, options).privateKey.export({ format: "jwk" });
  return { ...jwk, alg, use: "sig", kid: randomUUID() };
}

function rotate() {
  const keys = [
    key("RS256", "rsa", { modulusLength: 2048 }),
    key("ES256", "ec", { namedCurve: "P-256" }),
    key("EdDSA", "ed25519", {}),
  ];
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: TENANTS.map((tenant) => ({
      client_id: tenant,
      client_secret: "secret",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    })),
    scopes: SCOPES.split(" "),
    extraTokenClaims: (_context, token) => ({ tenant: token.clientId }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => ({
          scope: SCOPES,
          audience: "orders",
          accessTokenTTL: LIFETIME_S,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: resource.split(":").at(-1) } },
        }),
      },
    },
  });
  handle = provider.callback();
}

async function control(request) {
  switch (`${request.method} ${request.url}`) {
    case "GET /reads":
      return reads;
    case "POST /rotate":
      return rotate();
    case "POST /down":
      server.closeAllConnections();
      return server.close();
    case "POST /up":
      server.listen(port, "127.0.0.1");
      return once(server, "listening");
    default:
      throw new Error(`there is no ${request.method} ${request.url}`);
  }
}

rotate();
const controls = createServer(async (request, response) => {
  const result = await control(request);
  response.end(String(typeof result === "number" ? result : "done"));
});
controls.listen(0, "127.0.0.1");
await once(controls, "listening");
console.log(`issuer ${issuer}`);
console.log(`control http://127.0.0.1:${controls.address().port}`);
