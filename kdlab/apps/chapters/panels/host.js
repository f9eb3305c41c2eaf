// A panel in a page without a kernel: its JSON and its module stand beside this script, as text.
(() => {
  /** The part of anywidget's model that panels use. */
  class Model {
    #values;
    #listeners = new Map();
    constructor(values) {
      this.#values = values;
    }
    get(name) {
      return this.#values[name];
    }
    set(name, value) {
      if (this.#values[name] === value) return;
      this.#values[name] = value;
      for (const tell of this.#listeners.get(`change:${name}`) ?? []) tell();
    }
    on(event, tell) {
      this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), tell]);
    }
    off(event, tell) {
      const others = (this.#listeners.get(event) ?? []).filter((other) => other !== tell);
      this.#listeners.set(event, others);
    }
    save_changes() {}
  }

  const place = document.currentScript.parentElement;
  const text = (type) => place.querySelector(`script[type="${type}"]`).textContent;
  const { values, ...bundle } = JSON.parse(text("application/json"));
  if (bundle.shared) bundle.data.shared ??= globalThis.kdlabShared[bundle.shared];
  // from file:// a module loads from a Blob, but not from the file beside the page
  const module = new Blob([text("text/plain")], { type: "text/javascript" });
  const address = URL.createObjectURL(module);
  import(address).then(({ default: widget }) => {
    URL.revokeObjectURL(address);
    place.querySelector("p").remove();
    widget.render({ model: new Model({ bundle, ...values }), el: place });
  });
})();
