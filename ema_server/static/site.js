// Light or dark as chosen, the same person lit in every picture, the tab of this page in sight, and folds opened for print. Pages work without it.
const root = document.documentElement, kept = localStorage.getItem("theme");
if (kept) root.dataset.theme = kept;
addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll("[data-theme-switch]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      localStorage.setItem("theme", root.dataset.theme);
    });
  }
  const tabs = document.querySelector(".tabs"), here = tabs?.querySelector("[aria-current]");
  if (here) tabs.scrollLeft = here.offsetLeft - (tabs.clientWidth - here.offsetWidth) / 2;
  const light = (person, on) => {
    for (const mark of document.querySelectorAll(`[data-person="${CSS.escape(person)}"]`)) mark.classList.toggle("on", on);
  };
  for (const mark of document.querySelectorAll("[data-person]")) {
    mark.addEventListener("pointerenter", () => light(mark.dataset.person, true));
    mark.addEventListener("pointerleave", () => light(mark.dataset.person, false));
  }
});
addEventListener("beforeprint", () => { for (const fold of document.querySelectorAll("details")) fold.open = true; });
