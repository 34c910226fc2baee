// A button that asks the kernel for a file and hands it to the browser.
function render({ model, el }) {
  const button = document.createElement("button");
  const state = document.createElement("span");
  let pieces = [];
  let waiting = false;
  el.classList.add("autoseg-download");
  button.type = "button";
  state.setAttribute("role", "status");
  el.append(button, state);

  function draw() {
    button.textContent = model.get("description");
    button.disabled = model.get("disabled") || waiting;
  }

  button.addEventListener("click", () => {
    waiting = true;
    pieces = [];
    state.textContent = "Packing …";
    draw();
    model.send({ wanted: true });
  });

  function receive(message, buffers) {
    if (!waiting) return; // another view of the same button asked
    if (message.failed) {
      state.textContent = "✖ " + message.failed;
    } else {
      pieces[message.piece] = buffers[0];
      state.textContent = `Loading ${message.piece + 1} of ${message.count} …`;
      if (message.piece + 1 < message.count) return;
      const address = URL.createObjectURL(new Blob(pieces, { type: "application/octet-stream" }));
      const link = document.createElement("a");
      link.href = address;
      link.download = model.get("name");
      document.body.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(address), 60000);
      state.textContent = `✔ ${model.get("name")} is in the browser's downloads.`;
    }
    pieces = [];
    waiting = false;
    draw();
  }

  model.on("msg:custom", receive);
  model.on("change:description change:disabled", draw);
  draw();
  return () => {
    model.off("msg:custom", receive);
    model.off("change:description change:disabled", draw);
  };
}

export default { render };
