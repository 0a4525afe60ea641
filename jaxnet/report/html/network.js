// A trained network, as network.py describes it, as a function of an image.
"use strict";

const makeNetwork = (() => {
  const rounding = new Float32Array(1), bits = new Uint32Array(rounding.buffer);

  // Ties go to the even one.
  const toBfloat16 = (a) => {
    rounding[0] = a;
    if (a === a) bits[0] = (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) & 0xffff0000;
    return rounding[0];
  };

  // Numerical Recipes, section 6.2: relative error below 1.2e-7.
  const ERFC = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277,
  ];
  const erfc = (a) => {
    const t = 1 / (1 + Math.abs(a) / 2);
    const tail = t * Math.exp(ERFC.reduceRight((sum, c) => sum * t + c, 0) - a * a);
    return a < 0 ? 2 - tail : tail;
  };

  const MAPS = {
    abs: Math.abs, cbrt: Math.cbrt, ceil: Math.ceil, cos: Math.cos, cosh: Math.cosh, exp: Math.exp, expm1: Math.expm1,
    floor: Math.floor, log: Math.log, log1p: Math.log1p, sign: Math.sign, sin: Math.sin, sinh: Math.sinh, sqrt: Math.sqrt,
    tan: Math.tan, tanh: Math.tanh, trunc: Math.trunc, bfloat16: toBfloat16, erfc, erf: (a) => 1 - erfc(a), exp2: (a) => 2 ** a,
    is_finite: (a) => +Number.isFinite(a), logistic: (a) => 1 / (1 + Math.exp(-a)), neg: (a) => -a, not: (a) => 1 - a,
    rsqrt: (a) => 1 / Math.sqrt(a), square: (a) => a * a,
    add: (a, b) => a + b, sub: (a, b) => a - b, mul: (a, b) => a * b, div: (a, b) => a / b, rem: (a, b) => a % b,
    max: Math.max, min: Math.min, pow: Math.pow, atan2: Math.atan2, and: Math.min, or: Math.max, xor: (a, b) => +(a !== b),
    eq: (a, b) => +(a === b), ne: (a, b) => +(a !== b), lt: (a, b) => +(a < b), le: (a, b) => +(a <= b),
    gt: (a, b) => +(a > b), ge: (a, b) => +(a >= b),
    clamp: (low, a, high) => Math.min(Math.max(a, low), high), select_n: (which, no, yes) => (which ? yes : no),
  };

  const REDUCTIONS = {
    sum: [0, (a, b) => a + b], prod: [1, (a, b) => a * b], max: [-Infinity, Math.max], min: [Infinity, Math.min],
  };

  // The places that `encode_places` of interop/program.py wrote down.
  const placesOf = ({ offset, shape, strides, runs }) => {
    if (runs) {
      const places = [];
      for (let r = 0; r < runs.length; r += 3) {
        for (let i = 0; i < runs[r + 2]; i++) places.push(runs[r] + i * runs[r + 1]);
      }
      return Int32Array.from(places);
    }
    return shape.reduce((places, size, axis) => {
      const more = new Int32Array(places.length * size);
      for (let i = 0; i < more.length; i++) more[i] = places[Math.floor(i / size)] + (i % size) * strides[axis];
      return more;
    }, Int32Array.of(offset));
  };

  // sums (n) += numbers (k) x parameters (k, n), which begin at a place, their rows at a distance.
  const addProduct = (sums, numbers, at, k, w, from, distance) => {
    const n = sums.length;
    let i = 0;
    for (; i + 3 < k; i += 4) {
      const a = numbers[at + i], b = numbers[at + i + 1], c = numbers[at + i + 2], d = numbers[at + i + 3];
      const w1 = from + i * distance, w2 = w1 + distance, w3 = w2 + distance, w4 = w3 + distance;
      for (let j = 0; j < n; j++) sums[j] += a * w[w1 + j] + b * w[w2 + j] + c * w[w3 + j] + d * w[w4 + j];
    }
    for (; i < k; i++) {
      const a = numbers[at + i], w1 = from + i * distance;
      for (let j = 0; j < n; j++) sums[j] += a * w[w1 + j];
    }
  };

  // Each operation: a step to a function that fills `out` from its operands.
  const OPERATIONS = {
    map({ name }) {
      const f = MAPS[name];
      return (out, a, b = a, c = a) => {
        const i1 = +(a.length > 1), i2 = +(b.length > 1), i3 = +(c.length > 1);
        for (let i = 0; i < out.length; i++) out[i] = f(a[i * i1], b[i * i2], c[i * i3]);
      };
    },

    take({ where }) {
      const places = placesOf(where);
      return (out, first, ...others) => {
        for (let i = 0; i < out.length; i++) {
          let at = places[i], from = first, next = 0;
          while (at >= from.length) {
            at -= from.length;
            from = others[next++];
          }
          out[i] = from[at];
        }
      };
    },

    reduce({ name, begin, group }) {
      const starts = placesOf(begin), offsets = placesOf(group);
      if (name === "argmax" || name === "argmin") {
        const sign = name === "argmax" ? 1 : -1;
        return (out, a) => starts.forEach((start, i) => {
          let best = 0;
          offsets.forEach((offset, j) => {
            if (sign * a[start + offset] > sign * a[start + offsets[best]]) best = j;
          });
          out[i] = best;
        });
      }
      const [empty, f] = REDUCTIONS[name];
      return (out, a) => {
        for (let i = 0; i < out.length; i++) {
          let all = empty;
          for (let j = 0; j < offsets.length; j++) all = f(all, a[starts[i] + offsets[j]]);
          out[i] = all;
        }
      };
    },

    dot({ batch, m, k, n }) {
      const sums = new Float64Array(n);
      return (out, x, w) => {
        for (let row = 0; row < batch * m; row++) {
          sums.fill(0);
          addProduct(sums, x, row * k, k, w, Math.floor(row / m) * k * n, n);
          out.set(sums, row * n);
        }
      };
    },

    convolve({ height, width, columns, inputs, kernel, strides, dilation, groups }) {
      const [kernelHeight, kernelWidth, each, units] = kernel, share = units / groups;
      const sums = new Float64Array(units);
      const parts = Array.from({ length: groups }, (_, g) => sums.subarray(g * share, (g + 1) * share));
      // Without groups or gaps, a row of the kernel meets numbers that follow each other.
      const whole = groups === 1 && dilation[1] === 1;
      const taps = whole ? 1 : kernelWidth, length = whole ? kernelWidth * inputs : each;
      return (out, x, w) => {
        for (let row = 0; row < height; row++) {
          for (let column = 0; column < width; column++) {
            sums.fill(0);
            for (let i = 0; i < kernelHeight; i++) {
              for (let j = 0; j < taps; j++) {
                const at = ((row * strides[0] + i * dilation[0]) * columns + column * strides[1] + j * dilation[1]) * inputs;
                const from = (i * kernelWidth + j) * each * units;
                for (let g = 0; g < groups; g++) addProduct(parts[g], x, at + g * each, length, w, from + g * share, units);
              }
            }
            out.set(sums, (row * width + column) * units);
          }
        }
      };
    },
  };

  const bytesOf = (text) => {
    const letters = atob(text), bytes = new Uint8Array(letters.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
    return bytes.buffer;
  };

  const numbersOf = ({ float32, int16, scales }) => {
    if (float32 !== undefined) return new Float32Array(bytesOf(float32));
    const by = new Float32Array(bytesOf(scales)), levels = new Int16Array(bytesOf(int16)), numbers = new Float32Array(levels.length);
    for (let i = 0; i < numbers.length; i++) numbers[i] = levels[i] * by[i % by.length];
    return numbers;
  };

  return (data) => {
    const pixels = data.shape.reduce((a, b) => a * b, 1);
    const steps = data.steps.map((step) => ({ ...step, compute: OPERATIONS[step.op](step) }));

    // What depends on the image is computed for each, all else once a member.
    const live = new Set([0]);
    for (const { of, to } of steps) if (of.some((number) => live.has(number))) live.add(to);
    const [always, once] = [true, false].map((is) => steps.filter(({ to }) => live.has(to) === is));
    const compute = (some, values) => {
      for (const { of, to, compute } of some) compute(values[to], ...of.map((number) => values[number]));
    };

    const common = [];
    for (const [number, text] of data.constants) common[number] = numbersOf(text);
    for (const { to, size } of always) common[to] = new Float32Array(size);
    const members = [];
    const valuesOf = (member) => {
      if (!members[member]) {
        const values = (members[member] = [...common]);
        for (const [number, text] of data.members[member]) values[number] = numbersOf(text);
        for (const { to, size } of once) values[to] = new Float32Array(size);
        compute(once, values);
      }
      return members[member];
    };

    const orders = data.layers.map(({ order }) => order && placesOf(order));

    return {
      shape: data.shape,
      classes: data.classes,
      members: data.members.length,
      layers: data.layers.map(({ name, kind, shape }) => ({ name, kind, shape })),

      // what the network gives for raw values of an example: log-probabilities, or a value
      outputs(x, member = 0) {
        const values = valuesOf(member);
        values[0] = x;
        compute(always, values);
        return values[data.output].slice();
      },

      // probabilities and each layer's numbers, of raw values of an image
      run(image, member = 0) {
        if (image.length !== pixels) throw new RangeError(`an image has ${pixels} values, not ${image.length}`);
        const values = valuesOf(member);
        values[0] = image;
        compute(always, values);
        const probabilities = Float32Array.from(values[data.output], Math.exp);
        const activations = data.layers.map(({ value }) => (value === data.output ? probabilities : values[value]).slice());
        return { probabilities, activations };
      },

      // the parameters of one unit, summed over channels where they lie in a picture; null of a layer without any
      weights(layer, unit, member = 0) {
        const { weights, inputs } = data.layers[layer], order = orders[layer];
        if (weights === null) return null;
        const w = valuesOf(member)[weights], count = inputs.reduce((a, b) => a * b, 1), units = w.length / count;
        const shape = inputs.slice(0, 2), values = new Float32Array(shape.reduce((a, b) => a * b, 1));
        const channels = count / values.length;
        for (let i = 0; i < count; i++) values[Math.floor(i / channels)] += w[(order ? order[i] : i) * units + unit];
        return { shape, values };
      },
    };
  };
})();
