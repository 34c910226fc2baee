// What a panel needs in the page: keys of its own, names for who hears it, and a place that stays while it works.

const BUSY = "autoseg-busy"; // a class of panels that work, and what is sent when one begins
const LONGEST_HOLD_MS = 20000;
const UNNAMED = ".noUi-handle:not([aria-label]), input[type=color]:not([aria-label])";

// In a notebook's output an arrow key moves to the next cell, and "d d" deletes it, even while a list or a button
// has the focus. The attribute is JupyterLab's own word for "leave these keys alone". It has to stand on the very
// element that has the focus before JupyterLab looks, and only for keys without Ctrl, Alt or Cmd, so that Ctrl+S
// still saves; Escape still leaves the panel.
function claimKeys(panel) {
  const claim = (event) => {
    if (!panel.contains(event.target)) return;
    const theirs = event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape";
    event.target.toggleAttribute("data-lm-suppress-shortcuts", !theirs);
  };
  window.addEventListener("keydown", claim, true);
  return () => window.removeEventListener("keydown", claim, true);
}

// What ipywidgets leaves out: the name of a slider or a colour for who hears the page, though its words stand
// beside it, and scrolling by keys.
function mendNames(panel) {
  const mend = () => {
    for (const box of panel.querySelectorAll(".autoseg-scrolls:not([tabindex])")) box.tabIndex = 0;
    for (const part of panel.querySelectorAll(UNNAMED)) {
      const words = part.closest(".jupyter-widgets").querySelector(".widget-label");
      if (words) part.setAttribute("aria-label", words.textContent);
    }
  };
  const watch = new MutationObserver(mend);
  watch.observe(panel, { childList: true, subtree: true });
  mend();
  return () => watch.disconnect();
}

// While a panel works, sentences come and go above, and panels that follow it are empty. So that nothing moves under
// the hands, all keep their height from before until the work is done, and what has the focus keeps its place.
function holdStill(panel) {
  let timer, before, top, scrolled;
  const stay = () => {
    const focused = document.activeElement;
    const scroller = scrollerOf(panel);
    if (scroller && panel.contains(focused) && focused.checkVisibility()) {
      const moved = focused.getBoundingClientRect().top - top;
      if (focused === before && scroller.scrollTop === scrolled && moved) scroller.scrollTop += moved;
      [top, scrolled] = [focused.getBoundingClientRect().top, scroller.scrollTop];
    }
    before = focused;
  };
  const frames = beforeEachPaint(panel, stay);
  const release = () => {
    clearInterval(timer);
    timer = undefined;
    frames.stop();
    panel.style.minHeight = "";
  };
  const hold = () => {
    if (timer || !panel.offsetHeight) return;
    panel.style.minHeight = `${panel.offsetHeight}px`;
    const until = Date.now() + LONGEST_HOLD_MS;
    let quiet = 0; // between two works of a chain nobody is busy for a moment
    timer = setInterval(() => {
      quiet = document.querySelector(`.${BUSY}`) ? 0 : quiet + 1;
      if (quiet > 2 || Date.now() > until) release();
    }, 150);
    before = null;
    stay();
    frames.go();
  };
  document.addEventListener(BUSY, hold);
  return () => {
    document.removeEventListener(BUSY, hold);
    release();
    frames.end();
  };
}

// JupyterLab lays out in animation frames of its own, which may come after ours. Changed sizes are told after all of
// them and before the paint: a part whose width changes with each frame is a clock that strikes just then.
function beforeEachPaint(panel, work) {
  const clock = document.createElement("div");
  clock.style.cssText = "position: fixed; height: 1px; visibility: hidden";
  const watch = new ResizeObserver(work);
  watch.observe(clock);
  let frame;
  const tick = () => {
    clock.style.width = clock.style.width === "1px" ? "2px" : "1px";
    frame = requestAnimationFrame(tick);
  };
  const stop = () => {
    cancelAnimationFrame(frame);
    clock.remove();
  };
  return {
    go() {
      panel.append(clock);
      tick();
    },
    stop,
    end() {
      stop();
      watch.disconnect();
    },
  };
}

function scrollerOf(panel) {
  // Boxes within a cell scroll sideways at most.
  for (let at = (panel.closest(".jp-Cell") || panel).parentElement; at; at = at.parentElement) {
    if (at.scrollHeight > at.clientHeight && /auto|scroll/.test(getComputedStyle(at).overflowY)) return at;
  }
  return null;
}

export default {
  render({ model, el }) {
    el.style.display = "none";
    let panel, frame;
    let ends = [];
    const mark = () => {
      if (panel?.classList.toggle(BUSY, model.get("busy"))) document.dispatchEvent(new Event(BUSY));
    };
    const begin = () => {
      panel = el.closest(".autoseg-panel");
      if (!panel) {
        frame = requestAnimationFrame(begin); // it is not on the page yet
        return;
      }
      ends = [claimKeys(panel), mendNames(panel), holdStill(panel)];
      mark();
    };
    model.on("change:busy", mark);
    begin();
    return () => {
      cancelAnimationFrame(frame);
      model.off("change:busy", mark);
      for (const end of ends) end();
    };
  },
};
