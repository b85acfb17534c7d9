// Runs before a script: takes away what depends on the time, on chance or on the garbage collector, and freezes what
// scripts share with each other's records. It gives back how integers beyond 53 bits are read.
(function (now, random, log, finishing, logging) {
  'use strict';
  const world = globalThis;
  const define = Object.defineProperty;
  const { stringify, parse } = JSON;
  const { isSafeInteger } = Number;
  const Big = BigInt;
  const Text = String;
  const whole = /^-?[0-9]+$/;
  const test = RegExp.prototype.test.call.bind(RegExp.prototype.test);

  for (const name of ['WeakRef', 'FinalizationRegistry', 'SharedArrayBuffer', 'Atomics', 'performance', 'gc',
    'print', 'navigator', 'std', 'os', 'bjson', 'scriptArgs']) {
    delete world[name];
  }

  // The time is that of the event's receipt.
  const Real = Date;
  const construct = Reflect.construct;
  function Fixed(...parts) {
    if (new.target === undefined) return new Real(now()).toString();
    return construct(Real, parts.length === 0 ? [now()] : parts, new.target);
  }
  define(Fixed, 'name', { value: 'Date', configurable: true });
  define(Fixed, 'length', { value: 7, configurable: true });
  define(Fixed, 'prototype', { value: Real.prototype, writable: false });
  define(Fixed, 'now', { value: () => now(), writable: true, configurable: true });
  define(Fixed, 'parse', { value: Real.parse, writable: true, configurable: true });
  define(Fixed, 'UTC', { value: Real.UTC, writable: true, configurable: true });
  define(Real.prototype, 'constructor', { value: Fixed, writable: true, configurable: true });
  define(world, 'Date', { value: Fixed, writable: true, configurable: true });
  define(Math, 'random', { value: random, writable: true, configurable: true });

  // An integer of any size goes out exact: as a number in what `map` returns, as its digits in other texts.
  define(Big.prototype, 'toJSON', {
    value() { return finishing() ? '\u0000' + Text(this) : Text(this); }, writable: true, configurable: true,
  });

  const show = (value) => {
    if (typeof value === 'string') return value;
    try {
      const text = stringify(value);
      return text === undefined ? Text(value) : text;
    } catch {
      return Text(value);
    }
  };
  const console = {};
  for (const level of ['debug', 'log', 'info', 'warn', 'error', 'trace']) {
    console[level] = logging ? (...parts) => { log(parts.slice(0, 32).map(show).join(' ')); } : () => {};
  }
  define(world, 'console', { value: console, writable: true, configurable: true });

  // On a frozen prototype a plain assignment to an object that inherits from it would fail, as in
  // `this.name = 'MyError'`. There the property becomes one that defines the object's own.
  const open = (prototype) => {
    for (const key of Reflect.ownKeys(prototype)) {
      const property = Object.getOwnPropertyDescriptor(prototype, key);
      if (!property.configurable || !('value' in property) || typeof key === 'symbol') continue;
      const { value } = property;
      define(prototype, key, {
        get() { return value; },
        set(other) {
          if (this === prototype) throw new TypeError('built-in prototypes are frozen');
          define(this, key, { value: other, writable: true, enumerable: true, configurable: true });
        },
        enumerable: false,
        configurable: false,
      });
    }
  };
  for (const type of [Object, Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError,
    AggregateError]) {
    open(type.prototype);
  }

  const seen = new Set([world]);
  const freeze = (value) => {
    if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.has(value)) return;
    seen.add(value);
    Object.freeze(value);
    freeze(Object.getPrototypeOf(value));
    for (const key of Reflect.ownKeys(value)) {
      const property = Object.getOwnPropertyDescriptor(value, key);
      freeze(property.value);
      freeze(property.get);
      freeze(property.set);
    }
  };
  for (const key of Reflect.ownKeys(world)) freeze(Object.getOwnPropertyDescriptor(world, key).value);
  // What no global leads to.
  for (const sample of [function* () {}, async function () {}, async function* () {}, [][Symbol.iterator](),
    new Map()[Symbol.iterator](), new Set()[Symbol.iterator](), ''[Symbol.iterator](), /a/[Symbol.matchAll]('a')]) {
    freeze(Object.getPrototypeOf(sample));
  }

  return (text) => parse(text, (key, value, context) =>
    typeof value === 'number' && !isSafeInteger(value) && test(whole, context.source) ? Big(context.source) : value);
})
