// A DCGAN's generator in plain JavaScript: transposed convolutions, batch norm in evaluation mode, ReLU, tanh.
// window.gannb.load(name) reads a generator; draw(z, label) makes one picture, as gannb.sample.sample does.
"use strict";
(() => {
  const EPS = 1e-5; // of batch norm, torch's own
  const loaded = new Map(); // name -> generator
  const waiting = new Map(); // name -> {resolve, reject}
  let current = null;

  // A safetensors file: 8 bytes that say how long the header is, the header in JSON, then the numbers.
  function readTensors(base64) {
    const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
    const start = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
    const tensors = {};
    for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
      if (dtype === "F32") tensors[name] = { shape, data: new Float32Array(bytes.buffer.slice(start + from, start + to)) };
    }
    return tensors;
  }

  // Batch norm in evaluation mode is one factor and one shift for each channel.
  function normOf(tensors, at) {
    const part = name => tensors[`G.main.${at}.${name}`].data;
    const [weight, bias, mean, spread] = ["weight", "bias", "running_mean", "running_var"].map(part);
    const factor = weight.map((w, c) => w / Math.sqrt(spread[c] + EPS));
    return { factor, shift: bias.map((b, c) => b - mean[c] * factor[c]) };
  }

  // The layers in order: the first map has stride 1 and no padding, every later one doubles height and width.
  function layersOf(tensors) {
    const numbers = Object.keys(tensors).map(name => /^G\.main\.(\d+)\.weight$/.exec(name)).filter(Boolean).map(hit => +hit[1]);
    return numbers.sort((a, b) => a - b).filter(at => tensors[`G.main.${at}.weight`].shape.length === 4).map((at, i) => {
      const { shape: [, channels, kernel], data } = tensors[`G.main.${at}.weight`];
      const norm = `G.main.${at + 1}.running_mean` in tensors ? normOf(tensors, at + 1) : null;
      return { channels, kernel, weight: data, norm, stride: i ? 2 : 1, padding: i ? 1 : 0 };
    });
  }

  // map: {data, channels, side}. Every number of it adds its kernel, times itself, to the larger map.
  function transposed(map, layer) {
    const { channels, kernel, stride, padding, weight } = layer;
    const wide = (map.side - 1) * stride + kernel; // before the border is cut off
    const sums = new Float64Array(channels * wide * wide);
    for (let from = 0; from < map.channels; from++) {
      for (let to = 0; to < channels; to++) {
        for (let ky = 0; ky < kernel; ky++) {
          for (let kx = 0; kx < kernel; kx++) {
            const w = weight[((from * channels + to) * kernel + ky) * kernel + kx];
            for (let y = 0; y < map.side; y++) {
              let into = (to * wide + y * stride + ky) * wide + kx;
              let at = (from * map.side + y) * map.side;
              for (let x = 0; x < map.side; x++, into += stride) sums[into] += w * map.data[at++];
            }
          }
        }
      }
    }
    return cut(sums, channels, wide, padding);
  }

  function cut(sums, channels, wide, border) {
    const side = wide - 2 * border, data = new Float32Array(channels * side * side);
    let at = 0;
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < side; y++) {
        for (let x = 0; x < side; x++) data[at++] = sums[(c * wide + y + border) * wide + x + border];
      }
    }
    return { data, channels, side };
  }

  function normAndRelu(map, norm) {
    const area = map.side * map.side;
    map.data.forEach((v, i) => {
      const c = Math.floor(i / area);
      map.data[i] = Math.max(0, v * norm.factor[c] + norm.shift[c]);
    });
  }

  // One picture: z has nz numbers, a conditional generator takes a label too. Out: size x size x channels, 0 to 255.
  function draw(z, label = 0) {
    if (!current) throw new Error("no generator is loaded: gannb.load(name) first");
    const { tensors, layers } = current, table = tensors["G.branches.label y.0.weight"];
    const row = table ? table.data.slice(label * table.shape[1], (label + 1) * table.shape[1]) : [];
    let map = { data: Float32Array.from([...z, ...row]), channels: z.length + row.length, side: 1 };
    if (map.channels !== tensors["G.main.0.weight"].shape[0]) throw new Error(`z has ${z.length} numbers; another number is wanted`);
    for (const layer of layers) {
      map = transposed(map, layer);
      if (layer.norm) normAndRelu(map, layer.norm);
    }
    const area = map.side * map.side, pixels = new Uint8ClampedArray(area * map.channels);
    for (let i = 0; i < area; i++) {
      for (let c = 0; c < map.channels; c++) {
        pixels[i * map.channels + c] = Math.round((Math.tanh(map.data[c * area + i]) + 1) * 127.5);
      }
    }
    return { size: map.side, channels: map.channels, pixels };
  }

  // Called by the script that holds a generator.
  function receive(name, directions, base64) {
    const tensors = readTensors(base64);
    loaded.set(name, { name, directions, tensors, layers: layersOf(tensors) });
    waiting.get(name)?.resolve();
  }

  async function load(name) {
    if (!loaded.has(name)) {
      await new Promise((resolve, reject) => {
        waiting.set(name, { resolve, reject });
        const script = document.createElement("script");
        script.src = `_static/generators/${name}.js`;
        script.onerror = () => reject(new Error(`the weights of ${name} are not there`));
        document.head.append(script);
      });
    }
    current = loaded.get(name);
    return current;
  }

  // Numbers that look random and are the same for the same seed everywhere (mulberry32).
  function stream(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  // The noise of the picture `index` of a seed: normal numbers (Box and Muller), or uniform ones in [-1, 1].
  function noise(seed, index, nz, dist) {
    const next = stream(Math.imul(seed, 1000003) + index);
    const one = dist === "uniform"
      ? () => 2 * next() - 1
      : () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
    return Float32Array.from({ length: nz }, one);
  }

  window.gannb = { load, draw, noise, receive, get current() { return current?.name ?? null; } };
})();
