// Shows the OpenAPI document of this server. It takes nothing from the address but the host, and without
// `validatorUrl: null` the page would send the document to an online validator.
globalThis.SwaggerUIBundle({
  url: new URL('openapi.json', document.baseURI).href,
  dom_id: '#swagger-ui',
  deepLinking: true,
  queryConfigEnabled: false,
  validatorUrl: null,
  tryItOutEnabled: true,
});
