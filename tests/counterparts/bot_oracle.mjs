// Two programs nobody here wrote, behind lines of JSON on standard input and output.
//
//   bot_oracle.mjs judge   one line {app, metadata, cases: [{name, header, activity}], activities: [{name, activity}]}; the
//                          answer is {verdicts: {name: true|false}, classes: {name: [handlers]}}: what Microsoft's bot
//                          library accepts, and which handlers of its TeamsActivityHandler it calls.
//   bot_oracle.mjs issue   first line: {metadata}; then for each line of claims the token that oauth2-mock-server signs.
//
// The modules are looked for in GREFFIER_BOT_MODULES.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(`${process.env.GREFFIER_BOT_MODULES}/of.js`);
const lines = createInterface({ input: process.stdin });
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function verdicts({ app, metadata, cases }) {
  const { ConfigurationBotFrameworkAuthentication } = require('botbuilder');
  const library = new ConfigurationBotFrameworkAuthentication({
    MicrosoftAppId: app,
    MicrosoftAppPassword: 'unused',
    MicrosoftAppType: 'MultiTenant',
    MicrosoftAppTenantId: '',
    ToBotFromChannelOpenIdMetadataUrl: metadata,
    ToBotFromEmulatorOpenIdMetadataUrl: metadata,
    ToBotFromChannelTokenIssuer: 'https://api.botframework.com',
    ToChannelFromBotOAuthScope: 'https://api.botframework.com',
    ToChannelFromBotLoginUrl: 'http://127.0.0.1:1',
    OAuthUrl: 'https://api.botframework.com',
    ValidateAuthority: 'false',
    CallerId: '',
  });
  const found = {};
  for (const { name, header, activity } of cases) {
    found[name] = await library.authenticateRequest(activity, header).then((r) => r.claimsIdentity.isAuthenticated, () => false);
  }
  return found;
}

async function classes({ activities }) {
  const { TeamsActivityHandler, TestAdapter, TurnContext } = require('botbuilder');
  const called = [];
  class Noting extends TeamsActivityHandler {}
  const handler = new Noting();
  const names = [TeamsActivityHandler.prototype, Object.getPrototypeOf(TeamsActivityHandler.prototype)]
    .flatMap((p) => Object.getOwnPropertyNames(p))
    .filter((n) => /^on[A-Z]/.test(n) && !/^(onTurn|onDialog)$|Activity$/.test(n));
  for (const name of names) {
    const note = async (...given) => {
      called.push(name);
      const next = given.findLast((g) => typeof g === 'function');
      if (next) await next();
    };
    // Some of these names do not register a handler but handle, and fail.
    await Promise.resolve().then(() => handler[name](note)).catch(() => {});
  }
  const found = {};
  for (const { name, activity } of activities) {
    called.length = 0;
    const adapter = new TestAdapter(async () => {});
    const context = new TurnContext(adapter, activity);
    // For members that are added the library asks the service who they are.
    context.turnState.set(adapter.ConnectorClientKey, { conversations: { getConversationMember: async (_, id) => ({ id }) } });
    try {
      await handler.run(context);
    } catch (e) {
      called.push(`error: ${e.message}`);
    }
    found[name] = [...new Set(called)];
  }
  return found;
}

if (process.argv[2] === 'judge') {
  for await (const line of lines) {
    const asked = JSON.parse(line);
    say({ verdicts: await verdicts(asked), classes: await classes(asked) });
  }
} else {
  const { OAuth2Server } = require('oauth2-mock-server');
  const server = new OAuth2Server();
  await server.issuer.keys.generate('RS256');
  await server.start(0, '127.0.0.1');
  server.issuer.url = `http://127.0.0.1:${server.address().port}`;
  say({ metadata: `${server.issuer.url}/.well-known/openid-configuration`, issuer: server.issuer.url });
  for await (const line of lines) {
    const claims = JSON.parse(line);
    say({ token: await server.issuer.buildToken({ scopesOrTransform: (_, payload) => Object.assign(payload, claims) }) });
  }
  await server.stop();
}
