// Starts GraphiQL on this server's endpoint. It takes nothing from the address but the host.

const http = new URL('graphql', document.baseURI);
const socket = Object.assign(new URL(http), { protocol: http.protocol.replace('http', 'ws') });
const { React, ReactDOM, GraphiQL } = globalThis;

const page = document.documentElement;
const root = ReactDOM.createRoot(document.getElementById('root'));
const settings = {
  fetcher: GraphiQL.createFetcher({ url: http.href, subscriptionUrl: socket.href }),
  defaultTabs: globalThis.EXAMPLES.map(([, query, variables]) => ({ query, variables })),
  defaultEditorToolsVisibility: false,
};
const draw = () => root.render(React.createElement(GraphiQL, { ...settings, forcedTheme: page.dataset.theme ?? 'system' }));

// The header has the choice of the theme.
new MutationObserver(draw).observe(page, { attributeFilter: ['data-theme'] });
draw();
