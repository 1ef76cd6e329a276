// What a browser that knows security keys is offered, and a sentence where it read none.
document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  for (const sentence of document.querySelectorAll("[data-key-fault]")) sentence.hidden = false;
});
document.addEventListener("DOMContentLoaded", () => {
  if (!window.PublicKeyCredential) return;
  for (const part of document.querySelectorAll("[data-keys]")) part.hidden = false;
});
