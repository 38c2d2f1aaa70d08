// The front page's player: buttons, a seed, sliders, a grid of pictures and one of them enlarged.
"use strict";
(() => {
  const N = 12; // pictures of a seed
  const REACH = 6; // how far a slider goes, for normal noise
  const home = document.getElementById("play");
  const cards = JSON.parse(document.getElementById("play-cards").textContent);
  const part = name => home.querySelector(".play-" + name);
  const state = { card: null, directions: [], seed: 1, chosen: 0, label: null, turn: 0, moves: [] };

  function button(words, pressed, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = words;
    made.setAttribute("aria-pressed", String(pressed));
    made.addEventListener("click", act);
    return made;
  }

  const press = (group, index) => [...group.children].forEach((b, i) => b.setAttribute("aria-pressed", String(i === index)));
  const labelOf = index => state.label ?? index % (state.card.classes.length || 1);

  function zOf(index) {
    const z = gannb.noise(state.seed, index, state.card.nz, state.card.dist);
    state.moves.forEach((move, d) => state.directions[d].forEach((v, i) => { z[i] += move * v; }));
    return z;
  }

  function paint(canvas, index) {
    const { size, channels, pixels } = gannb.draw(zOf(index), labelOf(index));
    const image = new ImageData(size, size);
    for (let i = 0; i < size * size; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = pixels[i * channels + (channels === 3 ? c : 0)];
      image.data[4 * i + 3] = 255;
    }
    canvas.width = canvas.height = size;
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  // The large picture at once, then the others, some at a time, unless something newer is wanted.
  function show() {
    const turn = ++state.turn, tiles = [...part("grid").children];
    paint(part("big"), state.chosen);
    let next = 0;
    const some = () => {
      const until = performance.now() + 12;
      while (turn === state.turn && next < N && performance.now() < until) {
        paint(tiles[next].firstChild, next);
        next++;
      }
      if (turn === state.turn && next < N) requestAnimationFrame(some);
      else if (turn === state.turn) home.dataset.drawn = String(turn);
    };
    some();
  }

  function choose(index) {
    state.chosen = index;
    press(part("grid"), index);
    paint(part("big"), index);
  }

  function makeSliders() {
    const reach = state.card.dist === "uniform" ? REACH * 0.6 : REACH;
    part("sliders").replaceChildren(...state.directions.map((_, d) => {
      const line = document.createElement("label"), slider = document.createElement("input");
      line.textContent = `direction ${d + 1}`;
      Object.assign(slider, { type: "range", min: -reach, max: reach, step: reach / 50, value: 0 });
      slider.addEventListener("input", () => { state.moves[d] = Number(slider.value); show(); });
      line.append(slider);
      return line;
    }));
  }

  function toTheMiddle() {
    state.moves = state.directions.map(() => 0);
    part("sliders").querySelectorAll("input").forEach(slider => { slider.value = 0; });
  }

  function makeClasses() {
    const group = part("classes"), pick = (label, i) => () => { state.label = label; press(group, i); show(); };
    const words = state.card.classes;
    group.replaceChildren(...(words.length ? [button("all", true, pick(null, 0))] : []),
      ...words.map((word, i) => button(word, false, pick(i, i + 1))));
  }

  function makeCard() {
    const { called, size, data, images, licence, lacks, steps, classes } = state.card;
    const told = classes.length ? " It was told the class of each image." : "";
    part("card").textContent = `${called}, ${size} x ${size}: trained for ${steps.toLocaleString("en")} steps on `
      + `${images.toLocaleString("en")} images of ${data}${lacks ? ` (here: ${lacks})` : ""}. Licence of the data: ${licence}.${told}`;
  }

  async function take(index) {
    press(part("picks"), index);
    part("card").textContent = "Loading ...";
    const card = cards[index];
    const { directions } = await gannb.load(card.name);
    Object.assign(state, { card, directions, label: null });
    toTheMiddle();
    makeSliders();
    makeClasses();
    makeCard();
    choose(state.chosen);
    show();
  }

  const failed = error => { part("card").textContent = String(error.message); };
  const reseed = seed => { state.seed = seed; document.getElementById("play-seed").value = seed; show(); };

  part("picks").append(...cards.map((card, i) => button(card.called, false, () => take(i).catch(failed))));
  part("grid").append(...Array.from({ length: N }, (_, i) => {
    const tile = button("", i === 0, () => choose(i));
    tile.setAttribute("aria-label", `picture ${i + 1}`);
    tile.append(document.createElement("canvas"));
    return tile;
  }));
  document.getElementById("play-seed").addEventListener("input", event => reseed(Math.max(0, Math.floor(Number(event.target.value)) || 0)));
  part("new").addEventListener("click", () => reseed(Math.floor(Math.random() * 10000)));
  part("back").addEventListener("click", () => { toTheMiddle(); show(); });
  const asked = () => Math.max(0, cards.findIndex(card => "#" + card.name === location.hash));
  window.addEventListener("hashchange", () => take(asked()).catch(failed));
  window.gannb.turn = () => state.turn; // home.dataset.drawn names the turn that is painted in full
  take(asked()).catch(failed);
})();
