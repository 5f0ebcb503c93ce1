// A third-party authorization server: oidc-provider, which is certified, on a free loopback port,
// which it prints. The arguments are the issuer and the lifetime of access tokens in seconds. Every
// user name is accepted. Access tokens are opaque, and the client `resource-server` can introspect
// them.

import { generateKeyPair, exportJWK } from "jose";
import { Provider } from "oidc-provider";

const issuer = process.argv[1];
const life = Number(process.argv[2]);
const { privateKey } = await generateKeyPair("RS256", { extractable: true });

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...(await exportJWK(privateKey)), use: "sig", alg: "RS256" }] },
  cookies: { keys: ["only for tests"] },
  clients: [
    {
      client_id: "resource-server",
      client_secret: "looks-into-tokens",
      redirect_uris: [],
      response_types: [],
      grant_types: [],
    },
    {
      client_id: "a-program",
      client_secret: "proves-a-program",
      redirect_uris: [],
      response_types: [],
      grant_types: ["client_credentials"],
    },
  ],
  scopes: ["openid", "offline_access", "profile"],
  claims: { openid: ["sub"], profile: ["name", "preferred_username"] },
  conformIdTokenClaims: false,
  rotateRefreshToken: true,
  issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
    clientCredentials: { enabled: true },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, indicator) => ({
        scope: "mcp.read",
        audience: indicator,
        accessTokenTTL: life,
        accessTokenFormat: "opaque",
      }),
    },
  },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: id, preferred_username: `${id}@example.test` }),
  }),
});
const server = provider.listen(0, "127.0.0.1", () => console.log(server.address().port));
