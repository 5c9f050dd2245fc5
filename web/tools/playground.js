// Starts GraphQL Playground on this server's endpoint. It takes nothing from the address but the host.

const http = new URL('graphql', document.baseURI);
const socket = Object.assign(new URL(http), { protocol: http.protocol.replace('http', 'ws') });

const page = document.documentElement;
const theme = () => page.dataset.theme ?? (matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark');

globalThis.GraphQLPlayground.init(document.getElementById('root'), {
  endpoint: http.href,
  subscriptionEndpoint: socket.href,
  settings: {
    'request.credentials': 'same-origin',
    'schema.polling.enable': false,
    'editor.theme': theme(),
  },
  tabs: globalThis.EXAMPLES.map(([name, query, variables]) => ({ name, query, variables, endpoint: http.href })),
});

// It reads its settings only at the start, and keeps its tabs.
const shown = theme();
new MutationObserver(() => { if (theme() !== shown) location.reload(); }).observe(page, { attributeFilter: ['data-theme'] });
