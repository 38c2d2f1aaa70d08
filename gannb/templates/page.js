"use strict";
// The section in view is marked in the table of contents.
const links = [...document.querySelectorAll("nav.toc a")];
const heads = links.map(a => document.getElementById(decodeURIComponent(a.hash.slice(1))));
function mark() {
  let at = 0;
  heads.forEach((h, i) => { if (h && h.getBoundingClientRect().top < 120) at = i; });
  links.forEach((a, i) => a.classList.toggle("here", i === at));
}
addEventListener("scroll", mark, { passive: true });
mark();
// All code at once; a chosen entry closes the small menu; what is folded stays off paper.
const all = document.getElementById("all-code");
if (all) all.addEventListener("click", () => {
  const cells = [...document.querySelectorAll("details.code")], open = !cells.every(d => d.open);
  cells.forEach(d => { d.open = open; });
  all.textContent = open ? "Fold all code" : "Show all code";
});
document.querySelectorAll(".menu a").forEach(a => a.addEventListener("click", () => { document.querySelector(".menu").open = false; }));
