// Search without a server. The theme searches in a Web Worker, which browsers refuse to
// pages that are opened as files; there this runs the worker's script in a hidden frame.
// As between threads, messages are copies and arrive later.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.postMessage = (data) => this.deliver(this, data);
      const script = inside.document.createElement("script");
      this.loaded = new Promise((resolve) => (script.onload = resolve));
      script.src = url;
      inside.document.head.append(script);
    }
    postMessage(data) {
      this.loaded.then(() => this.deliver(this.frame.contentWindow, data));
    }
    deliver(receiver, data) {
      const event = new MessageEvent("message", { data: structuredClone(data) });
      setTimeout(() => receiver?.onmessage?.(event));
    }
    terminate() {
      this.frame.remove();
    }
  };
}
