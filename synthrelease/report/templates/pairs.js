"use strict";
for (const pair of document.querySelectorAll("article.pair")) {
  const top = pair.querySelector(".top");
  const slider = pair.querySelector("input");
  const button = pair.querySelector("button");
  let timer = 0;
  const show = (share) => { top.hidden = false; top.style.opacity = share; slider.value = Math.round(100 * share); };
  pair.querySelector(".controls").hidden = false;
  slider.addEventListener("input", () => { clearInterval(timer); timer = 0; button.textContent = "Blink"; show(slider.value / 100); });
  button.addEventListener("click", () => {
    if (timer) { clearInterval(timer); timer = 0; button.textContent = "Blink"; show(0); return; }
    button.textContent = "Stop";
    timer = setInterval(() => show(slider.value > 50 ? 0 : 1), 700);
  });
}
