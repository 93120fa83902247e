// What a firmware script finds without importing anything. Editors read this file; the device does not.

/** Text of a log line: anything; objects are written as JSON. */
type Loggable = unknown;

interface LogFunction {
  (...values: Loggable[]): void;
  trace(...values: Loggable[]): void;
  debug(...values: Loggable[]): void;
  info(...values: Loggable[]): void;
  warn(...values: Loggable[]): void;
  error(...values: Loggable[]): void;
}

/** Writes to the firmware's log. Lines above the rate budget are dropped and counted. */
declare const log: LogFunction;

/** The same as `log`. */
declare const console: {
  trace(...values: Loggable[]): void;
  debug(...values: Loggable[]): void;
  log(...values: Loggable[]): void;
  info(...values: Loggable[]): void;
  warn(...values: Loggable[]): void;
  error(...values: Loggable[]): void;
};

interface SendOptions {
  /** Name to file the message under. */
  channel?: string;
  /** Return only when the message is on the device's disk. */
  durable?: boolean;
}

/**
 * Sends a message to the cloud.
 * @param payload One object; it becomes JSON.
 * @param options A channel's name, or options.
 * @throws {Fault} `limit` when it is too long or the device's queue is full, `io` when the queue cannot be written.
 */
declare function send_msg(payload: object, options?: string | SendOptions): void;

type FaultTag = 'invalid' | 'unsupported' | 'denied' | 'busy' | 'limit' | 'io' | 'failed';

/** A reason the platform knows. Throw one to answer a command with it; catch one to see why the device refused something. */
declare class Fault extends Error {
  constructor(tag: FaultTag, message?: string);
  readonly tag: FaultTag;
}

declare const performance: {
  /** Milliseconds since the firmware started, with fractions. Never goes backwards. */
  now(): number;
};
