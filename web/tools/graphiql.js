// Starts GraphiQL on this server's endpoint. It takes nothing from the address but the host.

const http = new URL('graphql', document.baseURI);
const socket = Object.assign(new URL(http), { protocol: http.protocol.replace('http', 'ws') });
const { React, ReactDOM, GraphiQL } = globalThis;

ReactDOM.createRoot(document.getElementById('root')).render(React.createElement(GraphiQL, {
  fetcher: GraphiQL.createFetcher({ url: http.href, subscriptionUrl: socket.href }),
  defaultTabs: globalThis.EXAMPLES.map(([, query, variables]) => ({ query, variables })),
  defaultEditorToolsVisibility: false,
}));
