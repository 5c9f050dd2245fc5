// Checks grpc.health.v1 and server reflection of a gateway, which lists the orders service. Ends with status 0 if both
// work.
//
//   GRPC_ADDR=127.0.0.1:50051 node health_and_reflection.mjs

import { Client } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";
import { address, call, channelCredentials } from "./grpc.mjs";

const service = "orders.v1.OrderService";
const text = (id) => ({ type: "string", id });

// The part of the two well-known services that is used here.
const health = fromJSON({
  nested: {
    grpc: { nested: { health: { nested: { v1: { nested: {
      HealthCheckRequest: { fields: { service: text(1) } },
      HealthCheckResponse: { fields: { status: { type: "ServingStatus", id: 1 } } },
      ServingStatus: { values: { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } },
      Health: { methods: { Check: {
        requestType: "HealthCheckRequest", responseType: "HealthCheckResponse",
      } } },
    } } } } } },
  },
}, { enums: String, defaults: true })["grpc.health.v1.Health"];

const reflection = fromJSON({
  nested: {
    grpc: { nested: { reflection: { nested: { v1: { nested: {
      ServerReflectionRequest: { fields: { listServices: text(7) } },
      ServiceResponse: { fields: { name: text(1) } },
      ListServiceResponse: { fields: { service: { rule: "repeated", type: "ServiceResponse", id: 1 } } },
      ServerReflectionResponse: { fields: { listServicesResponse: { type: "ListServiceResponse", id: 6 } } },
      ServerReflection: { methods: { ServerReflectionInfo: {
        requestType: "ServerReflectionRequest", requestStream: true,
        responseType: "ServerReflectionResponse", responseStream: true,
      } } },
    } } } } } },
  },
}, { defaults: true })["grpc.reflection.v1.ServerReflection"];

const client = new Client(address, channelCredentials());

// `call` by the method's definition instead of a generated function.
const check = (name, ...rest) => {
  const { path, requestSerialize, responseDeserialize } = health.Check;
  client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { service: name }, ...rest);
};

function listServices() {
  const { path, requestSerialize, responseDeserialize } = reflection.ServerReflectionInfo;
  const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, {
    deadline: Date.now() + 10_000,
  });
  stream.write({ listServices: "" });
  return new Promise((resolve, reject) => {
    stream.on("error", reject);
    stream.on("data", (answer) => {
      stream.end();
      resolve((answer.listServicesResponse?.service ?? []).map(({ name }) => name));
    });
  });
}

try {
  for (const name of ["", service]) {
    const { status } = await call({ check }, "check", name);
    console.log(`health of '${name}': ${status}`);
    if (status !== "SERVING") process.exitCode = 1;
  }
  const services = await listServices();
  console.log(`reflection lists: ${services.join(", ")}`);
  if (!services.includes(service)) process.exitCode = 1;
} catch (error) {
  console.error(`error: ${error.details || error.message}`);
  process.exitCode = 1;
}
client.close();
