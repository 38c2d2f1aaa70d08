// Under each hit of the search: a piece of its page, with the words that were looked for marked.
// The text of a page lies in a script of its own, _static/text/PAGE.js, and is loaded when its hit comes into view:
// a page opened from disk may load a script and nothing else. All text is set as text: nothing in it becomes HTML.
"use strict";
(() => {
  const BEFORE = 80, LENGTH = 260; // letters before the first word that was found, and in all
  const WORD = /[\p{L}\p{N}_]+/gu;
  const pages = new Map(); // page -> a promise of its parts: [[anchor, text], ...]
  const given = new Map(); // page -> what fulfils its promise
  const asked = (new URLSearchParams(location.search).get("q") ?? "").toLowerCase().match(WORD) ?? [];
  const wanted = asked.filter(word => !window.stopwords?.has(word));
  const stem = window.Stemmer ? word => new Stemmer().stemWord(word) : word => word;
  const stems = new Set(wanted.map(stem));

  const isWanted = word => stems.has(stem(word)) || wanted.some(w => w.length > 2 && word.includes(w));
  const hits = text => [...text.matchAll(WORD)].filter(([word]) => isWanted(word.toLowerCase()));

  // Called by the script that holds the text of a page.
  window.gannbText = (page, parts) => given.get(page)?.(parts);

  function load(page) {
    if (!pages.has(page)) {
      pages.set(page, new Promise((resolve, reject) => {
        given.set(page, resolve);
        const script = document.createElement("script");
        script.src = `_static/text/${page.split("/").map(encodeURIComponent).join("/")}.js`;
        script.onerror = reject;
        document.head.append(script);
      }));
    }
    return pages.get(page);
  }

  // The part that the hit points at; of a hit on a whole page, the part with the most different words of the question.
  function chosen(parts, anchor) {
    const own = parts.find(([name]) => name === anchor);
    if (anchor && own) return own[1];
    const different = text => new Set(hits(text).map(([word]) => stem(word.toLowerCase()))).size;
    return parts.map(([, text]) => [different(text), text]).reduce((best, one) => one[0] > best[0] ? one : best, [-1, ""])[1];
  }

  // From the start of a word, near the first hit, to the end of a word.
  function cut(text) {
    const first = hits(text)[0]?.index ?? 0;
    const from = first > BEFORE ? text.indexOf(" ", first - BEFORE) + 1 : 0;
    const end = from + LENGTH < text.length ? text.lastIndexOf(" ", from + LENGTH) : text.length;
    return (from ? "… " : "") + text.slice(from, end > from ? end : from + LENGTH) + (end < text.length ? " …" : "");
  }

  function excerpt(text) {
    const line = document.createElement("p");
    let at = 0;
    line.className = "excerpt";
    for (const { 0: word, index } of hits(text)) {
      const mark = document.createElement("mark");
      mark.textContent = word;
      line.append(text.slice(at, index), mark);
      at = index + word.length;
    }
    line.append(text.slice(at));
    return line;
  }

  async function fill(item) {
    const [page, anchor = ""] = item.querySelector("a").getAttribute("href").split("#");
    try {
      const text = chosen(await load(page.replace(/\.html$/, "")), decodeURIComponent(anchor));
      if (text) item.append(excerpt(cut(text)));
    } catch {} // the text of the page is not there: its title stands alone
  }

  const seen = new IntersectionObserver(entries => entries.filter(e => e.isIntersecting).forEach(e => {
    seen.unobserve(e.target);
    fill(e.target);
  }), { rootMargin: "400px" });
  new MutationObserver(changes => changes.flatMap(c => [...c.addedNodes]).forEach(node => {
    if (node.matches?.("#search-results li")) seen.observe(node);
  })).observe(document.getElementById("search-results"), { childList: true, subtree: true });
})();
