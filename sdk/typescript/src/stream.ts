// One stream to a gateway.

import { Metadata, credentials, loadPackageDefinition, status } from "@grpc/grpc-js";
import type { ClientDuplexStream, ServiceError } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import protoPath from "../proto/path.cjs";

/** A message of the .proto file with the names in camel case. */
export type Message = Record<string, any>;

const CONNECT_TIMEOUT_MS = 10_000;
const CHANNEL = {
  "grpc.max_receive_message_length": 256 << 20,
  // Otherwise streams share the delays between connects, which grow to minutes.
  "grpc.use_local_subchannel_pool": 1,
};
/** Refusals that another try does not change. */
const FATAL = [
  status.UNAUTHENTICATED,
  status.PERMISSION_DENIED,
  status.FAILED_PRECONDITION,
  status.INVALID_ARGUMENT,
  status.UNIMPLEMENTED,
];

const definition = loadSync(protoPath, { longs: Number, defaults: true, oneofs: true });
const Service = (loadPackageDefinition(definition) as Message).orders.v1.WorkerService;

/** The stream ended, or was not opened. `isFatal`: another try changes nothing. */
export class StreamLost extends Error {
  constructor(reason: string, readonly isFatal = false) {
    super(reason);
  }
}

export class Stream {
  granted = 0;
  received = 0;
  /** The gateway assigns no further jobs. */
  isDraining = false;
  intervalMs = CONNECT_TIMEOUT_MS / 3;
  /** Set when the stream is lost. */
  lost?: StreamLost;
  /** Settles when another stream has to replace this one. */
  readonly over: Promise<void>;
  replace: () => void = () => {};
  private readonly client: { claim(metadata: Metadata): ClientDuplexStream<Message, Message>; close(): void };
  private readonly call: ClientDuplexStream<Message, Message>;
  private silence: NodeJS.Timeout;
  private heartbeats?: NodeJS.Timeout;
  private welcomed?: (welcome: Message) => void;

  constructor(readonly url: string, token: string, ca: Buffer | undefined, private readonly receive: (message: Message) => void) {
    this.over = new Promise((resolve) => (this.replace = resolve));
    const { protocol, host } = new URL(url);
    const port = new URL(url).port ? "" : protocol === "https:" ? ":443" : ":80";
    const secure = protocol === "https:" ? credentials.createSsl(ca ?? null) : credentials.createInsecure();
    this.client = new Service(host + port, secure, CHANNEL);
    const metadata = new Metadata();
    if (token) metadata.set("authorization", `Bearer ${token}`);
    this.call = this.client.claim(metadata);
    this.silence = this.watch(CONNECT_TIMEOUT_MS);
    this.call.on("data", (message: Message) => this.onMessage(message));
    this.call.on("end", () => this.end(new StreamLost("the gateway has ended it")));
    this.call.on("error", ({ code, details }: ServiceError) => {
      const hint = code === status.UNIMPLEMENTED ? " (a worker needs the gRPC address of a gateway, port 50051 by default)" : "";
      this.end(new StreamLost(`${status[code]}: ${details}${hint}`, FATAL.includes(code)));
    });
  }

  /** Waits for Welcome, and returns it. Fails with `StreamLost`. */
  async open(hello: Message): Promise<Message> {
    const welcome = new Promise<Message>((resolve) => (this.welcomed = resolve));
    this.call.write({ hello });
    const first = await Promise.race([welcome, this.over]);
    if (!first) throw this.lost;
    return first;
  }

  private onMessage(message: Message): void {
    if (this.lost) return;
    this.silence.refresh();
    if (!this.welcomed) return this.receive(message);
    if (message.message !== "welcome") return this.end(new StreamLost("the gateway is shutting down"));
    this.intervalMs = Math.max(message.welcome.heartbeatIntervalMs, 100);
    clearTimeout(this.silence);
    this.silence = this.watch(3 * this.intervalMs);
    this.welcomed(message.welcome);
    this.welcomed = undefined;
  }

  private watch(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.end(new StreamLost("the gateway has sent no message in time")), ms);
  }

  /** Sends a message, and calls `sent` when the connection has it or the stream is lost. */
  send(message: Message, sent?: () => void): void {
    if (this.lost) return sent?.();
    // The connection writes at the end of this turn of the event loop.
    this.call.write(message, sent && (() => setImmediate(sent)));
  }

  /** Sends heartbeats until the stream is lost. */
  beat(send: () => void): void {
    this.heartbeats = setInterval(send, this.intervalMs);
  }

  /** Ends the stream. */
  end(reason: StreamLost = new StreamLost("it is replaced")): void {
    if (this.lost) return;
    this.lost = reason;
    clearTimeout(this.silence);
    clearInterval(this.heartbeats);
    this.call.cancel();
    this.client.close();
    this.replace();
  }
}
