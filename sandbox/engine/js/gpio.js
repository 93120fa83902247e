// gpio.output(label, high) and gpio.input(label, pull). Levels are booleans: true is high.
import { openInput, openOutput } from 'iottly:firmware/gpio@0.1.0';
import { dispose, push } from './language.js';
import { ask, clean, word } from './prelude.js';
import { forget, listen } from './timers.js';

const level = (high) => (high ? 'high' : 'low');

class Output {
  #pin; #name;
  constructor(label, high) {
    this.#name = 'gpio ' + clean(label);
    this.#pin = ask(this.#name, () => openOutput(clean(label), level(high)));
  }
  set(high) { ask(this.#name, () => this.#pin.set(level(high))); }
  high() { this.set(true); }
  low() { this.set(false); }
  toggle() { ask(this.#name, () => this.#pin.toggle()); }
  get value() { return ask(this.#name, () => this.#pin.get()) === 'high'; }
  set value(high) { this.set(high); }
  close() { ask(this.#name, () => this.#pin[dispose]()); }
}

class Input {
  #pin; #name; #sources = [];
  constructor(label, pull) {
    this.#name = 'gpio ' + clean(label);
    const resistor = word(this.#name, pull, ['none', 'up', 'down']);
    this.#pin = ask(this.#name, () => openInput(clean(label), resistor));
  }
  get value() { return ask(this.#name, () => this.#pin.get()) === 'high'; }
  onRising(f) { this.#watch('rising', (at) => f(true, at)); }
  onFalling(f) { this.#watch('falling', (at) => f(false, at)); }
  onChange(f) { this.onRising(f); this.onFalling(f); }
  #watch(edge, f) { push(this.#sources, listen(ask(this.#name, () => this.#pin.watch(edge)), f, this)); }
  close() {
    for (let i = 0; i < this.#sources.length; i++) forget(this.#sources[i]);
    this.#sources = [];
    ask(this.#name, () => this.#pin[dispose]());
  }
}

globalThis.gpio = {
  output: (label, high = false) => new Output(label, high),
  input: (label, pull = 'none') => new Input(label, pull),
};
