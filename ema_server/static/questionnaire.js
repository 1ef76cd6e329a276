// The questionnaire's editor: line numbers, faults that lead to their line, and faults and preview that follow what is
// typed. Every button works without it.
addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("[data-editor]"), text = form.querySelector("#text"), gutter = form.querySelector("[data-gutter]");
  const kept = text.value;
  let leaving = false, asked = 0, timer;

  const number = () => {
    const lines = text.value.split("\n").length;
    if (gutter.childElementCount !== lines || !gutter.textContent) gutter.textContent = Array.from({ length: lines }, (_, n) => n + 1).join("\n");
    gutter.scrollTop = text.scrollTop;
  };
  const unsaved = () => { form.querySelector("[data-unsaved]").hidden = text.value === kept; };

  const untouched = () => {
    for (const slider of form.querySelectorAll("[data-untouched]")) {
      const name = slider.name;
      slider.removeAttribute("name"); // not answered before the first touch
      const touch = () => { slider.name = name; delete slider.dataset.untouched; };
      for (const event of ["pointerdown", "input", "keydown"]) slider.addEventListener(event, touch, { once: true });
    }
    for (const button of form.querySelectorAll("[data-noscript]")) button.hidden = true;
  };

  // Asks the server what it makes of the form as it is now, and puts its faults and preview in place.
  const look = async (what) => {
    const turn = ++asked, fields = new FormData(form);
    fields.delete("file");
    fields.set("do", what);
    try {
      const answer = await fetch(location.pathname, { method: "POST", body: fields });
      if (answer.redirected || !answer.ok || turn !== asked) return answer.ok && !answer.redirected;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("#looked"), active = document.activeElement && document.activeElement.id;
      form.querySelector("#looked").replaceChildren(...fresh.childNodes);
      untouched();
      if (active && active !== "text") document.getElementById(active)?.focus();
      return true;
    } catch { return false; }
  };

  form.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button || button.name !== "do" || !["next", "back", "start", "check"].includes(button.value)) { leaving = true; return; }
    event.preventDefault();
    look(button.value).then((done) => {
      if (!done) { leaving = true; button.removeAttribute("name"); const sent = document.createElement("input"); sent.type = "hidden"; sent.name = "do"; sent.value = button.value; form.append(sent); form.submit(); }
      else if (button.closest("#phone")) form.querySelector(".device .q")?.scrollIntoView({ block: "nearest" });
    });
  });
  form.addEventListener("change", (event) => { if (event.target.matches("[data-again]")) look("check"); });
  form.addEventListener("click", (event) => {
    const link = event.target.closest("[data-line]");
    if (!link) return;
    event.preventDefault();
    const lines = text.value.split("\n"), line = Number(link.dataset.line) - 1;
    const start = lines.slice(0, line).reduce((sum, each) => sum + each.length + 1, 0);
    text.focus();
    text.setSelectionRange(start, start + (lines[line] || "").length);
    text.scrollTop = Math.max(0, line - 8) * parseFloat(getComputedStyle(text).lineHeight);
  });
  text.addEventListener("input", () => { number(); unsaved(); clearTimeout(timer); timer = setTimeout(() => look("check"), 700); });
  text.addEventListener("scroll", () => { gutter.scrollTop = text.scrollTop; });
  addEventListener("beforeunload", (event) => { if (!leaving && text.value !== kept) event.preventDefault(); });
  number();
  untouched();
});
