// Names that a firmware script has without an import. For editors; the device does not use this file.

/** Part of a log line: any value; objects are written as JSON. */
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
  /** Channel of the message. */
  channel?: string;
  /** Return only once the message is on the device's disk. */
  durable?: boolean;
}

/**
 * Sends a message to the cloud.
 * @param payload One object; it becomes JSON.
 * @param options A channel's name, or options.
 * @throws {Fault} `limit` when the message is too long or the device's queue is full, `io` when the queue cannot be written.
 */
declare function send_msg(payload: object, options?: string | SendOptions): void;

/**
 * Handlers of commands whose names no function can have: `commands["set-target"] = function (command) { … }`.
 * Other commands are handled by a function of their name.
 */
declare const commands: Record<string, (command: any) => void>;

type FaultTag = 'invalid' | 'unsupported' | 'denied' | 'busy' | 'limit' | 'io' | 'failed';

/** An error with a reason that the platform knows. Throw one to fail a command with it; catch one to see why the device refused a call. */
declare class Fault extends Error {
  constructor(tag: FaultTag, message?: string);
  readonly tag: FaultTag;
}

declare const performance: {
  /** Milliseconds since the firmware started, with fractions. Never goes backwards. */
  now(): number;
};

type Timer = number;

/** Calls a function once, after `delay` milliseconds. */
declare function setTimeout<A extends unknown[]>(f: (...args: A) => void, delay?: number, ...args: A): Timer;
/** Calls a function every `period` milliseconds. */
declare function setInterval<A extends unknown[]>(f: (...args: A) => void, period?: number, ...args: A): Timer;
declare function clearTimeout(timer: Timer | undefined): void;
declare function clearInterval(timer: Timer | undefined): void;

/** Values that survive restarts and new versions of the firmware: anything that JSON can hold, on disk when the call returns. */
declare const state: {
  get<T = any>(key: string, otherwise?: T): T;
  set(key: string, value: unknown): void;
  delete(key: string): void;
  keys(prefix?: string): string[];
};

/** Settings that the cloud keeps for this device. */
declare const config: {
  get<T = any>(key: string, otherwise?: T): T;
  /** Version of the settings, which grows with every change; undefined while there are none. */
  readonly version: number | undefined;
};

declare const identity: {
  /** The device's id in the cloud. */
  readonly device: string;
  /** sha256 of this firmware, 64 hex digits. */
  readonly firmware: string;
  /** The kind of the board; empty without a board. */
  readonly board: string;
};

/** Bytes to write: a Uint8Array or numbers from 0 to 255. */
type Bytes = Uint8Array | number[];

interface OutputPin {
  set(high: boolean): void;
  high(): void;
  low(): void;
  toggle(): void;
  /** The level that was last set; true is high. */
  value: boolean;
  close(): void;
}

interface InputPin {
  /** The level; true is high. */
  readonly value: boolean;
  /** Calls `f` at every change from low to high. `at` is in milliseconds, as `performance.now()` counts. */
  onRising(f: (high: true, at: number) => void): void;
  onFalling(f: (high: false, at: number) => void): void;
  onChange(f: (high: boolean, at: number) => void): void;
  close(): void;
}

/** Digital pins by label. The labels are in firmware.toml: `[capabilities] gpio = ["led"]`. */
declare const gpio: {
  output(label: string, high?: boolean): OutputPin;
  input(label: string, pull?: 'none' | 'up' | 'down'): InputPin;
};

interface I2cBus {
  /** Performs operations in order: a number reads that many bytes, bytes are written. Returns the bytes of each read. */
  transaction(address: number, operations: (number | Bytes)[]): Uint8Array[];
  read(address: number, count: number): Uint8Array;
  write(address: number, bytes: Bytes): void;
  writeRead(address: number, bytes: Bytes, count: number): Uint8Array;
  close(): void;
}

/** I2C buses by label. */
declare const i2c: { open(label: string): I2cBus };

interface SpiDevice {
  /** Writes bytes and returns the same number of bytes. */
  transfer(bytes: Bytes): Uint8Array;
  write(bytes: Bytes): void;
  read(count: number): Uint8Array;
  writeRead(bytes: Bytes, count: number): Uint8Array;
  close(): void;
}

/** SPI devices by label. */
declare const spi: { open(label: string): SpiDevice };

interface SerialPort {
  write(data: string | Bytes): void;
  /** Returns the received bytes without waiting. */
  read(max?: number): Uint8Array;
  /** Calls `f` with received bytes. */
  onData(f: (bytes: Uint8Array) => void): void;
  close(): void;
}

/** Serial ports by label. */
declare const uart: {
  open(label: string, settings?: { baud?: number; parity?: 'none' | 'even' | 'odd'; stopBits?: 1 | 2 }): SerialPort;
};

interface PwmOutput {
  /** Sets the active share of each period, from 0 to 1. */
  duty(share: number): void;
  frequency(hertz: number): void;
  close(): void;
}

/** Outputs with pulse-width modulation, by label. */
declare const pwm: { open(label: string, hertz?: number): PwmOutput };

interface AnalogInput {
  /** Returns the voltage, in volts. */
  read(): number;
  close(): void;
}

/** Analog inputs by label. */
declare const adc: { open(label: string): AnalogInput };
