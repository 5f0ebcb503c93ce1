// A desktop app, an API and a machine that use the unmodified MSAL for Node.
//
// The case is an argument, and its configuration is on stdin. Actions for the user and the outcome
// are lines of JSON on stdout. NODE_EXTRA_CA_CERTS names the certificate authority.

import { text } from "node:stream/consumers";

import {
  ConfidentialClientApplication,
  ManagedIdentityApplication,
  PublicClientApplication,
} from "@azure/msal-node";

const name = process.argv.at(-1);
const settings = JSON.parse(await text(process.stdin));
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const auth = (more) => ({
  authority: settings.authority,
  knownAuthorities: [new URL(settings.authority).host],
  ...more,
});
const desktop = (more) =>
  new PublicClientApplication({ auth: auth({ clientId: settings.client, ...more }) });
const gateway = (credential) =>
  new ConfidentialClientApplication({ auth: auth({ clientId: settings.gateway, ...credential }) });
const openBrowser = async (url) => say({ open: url });

const outcome = (result) => ({
  token: result.accessToken,
  cached: result.fromCache,
  refresh_in: result.refreshOn
    ? Math.round((result.refreshOn.getTime() - Date.now()) / 1000)
    : null,
});

async function signIn() {
  const app = desktop({ clientCapabilities: ["cp1"] });
  const scopes = [settings.scope];
  const first = await app.acquireTokenInteractive({ scopes, openBrowser });
  const { account } = first;
  const silent = async (more) => outcome(await app.acquireTokenSilent({ scopes, account, ...more }));
  return {
    first: outcome(first),
    claims: first.idTokenClaims,
    account: account.homeAccountId,
    cached: await silent(),
    refreshed: await silent({ forceRefresh: true }),
    challenged: await silent({ claims: settings.challenge }),
  };
}

async function device() {
  const app = desktop();
  const first = await app.acquireTokenByDeviceCode({
    scopes: [settings.scope],
    deviceCodeCallback: ({ verificationUri, userCode }) =>
      say({ page: verificationUri, code: userCode }),
  });
  return { first: outcome(first), accounts: (await app.getAllAccounts()).length };
}

async function onBehalfOf() {
  const { accessToken } = await desktop().acquireTokenInteractive({
    scopes: [settings.scope],
    openBrowser,
  });
  const api = gateway({ clientSecret: settings.secret });
  const request = { oboAssertion: accessToken, scopes: [settings.downstream] };
  return {
    first: outcome(await api.acquireTokenOnBehalfOf(request)),
    cached: outcome(await api.acquireTokenOnBehalfOf(request)),
  };
}

async function machine() {
  const identity = new ManagedIdentityApplication({
    managedIdentityIdParams: { userAssignedClientId: settings.identity },
  });
  const federated = async () =>
    (await identity.acquireToken({ resource: settings.exchange })).accessToken;
  const privateKey = settings.key;
  const credentials = {
    secret: { clientSecret: settings.secret },
    sha256: { clientCertificate: { privateKey, thumbprintSha256: settings.thumbprintSha256 } },
    sha1: { clientCertificate: { privateKey, thumbprint: settings.thumbprint } },
    federated: { clientAssertion: federated },
  };
  const outcomes = {};
  for (const [kind, credential] of Object.entries(credentials)) {
    const app = gateway(credential);
    const ask = async () =>
      outcome(await app.acquireTokenByClientCredential({ scopes: [settings.downstream] }));
    outcomes[kind] = { first: await ask(), cached: await ask() };
  }
  return outcomes;
}

const cases = { "sign-in": signIn, device, "on-behalf-of": onBehalfOf, machine };
say({ done: await cases[name]() });
