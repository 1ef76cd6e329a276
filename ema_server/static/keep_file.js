// A form with data-keeps-file="id" is checked without leaving the page, so that the chosen file stays chosen. Without this script it is chosen again.
addEventListener("submit", async (event) => {
  const form = event.target, place = form.dataset.keepsFile, button = event.submitter;
  if (!place || !button || button.value !== "check") return;
  event.preventDefault();
  button.disabled = true;
  const outcome = document.getElementById(place);
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form, button) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(place);
    if (!page) throw new Error();
    outcome.replaceChildren(...page.childNodes);
  } catch {
    outcome.textContent = "The server did not answer as it should. Check the file once more.";
  }
  button.disabled = false;
});
