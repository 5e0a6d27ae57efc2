// Recording, WAV files and spectrograms, without libraries.
const RATE = 16000;
const FRAME = 512;
const LONGEST = 15; // seconds of a recording

let context = null;

export async function samplesOf(blob) {
  // float32 mono at RATE; throws where the browser cannot decode it.
  context ??= new AudioContext();
  const decoded = await context.decodeAudioData(await blob.arrayBuffer());
  const offline = new OfflineAudioContext(1, Math.max(1, Math.ceil(decoded.duration * RATE)), RATE);
  const source = offline.createBufferSource();
  source.buffer = decoded;
  source.connect(offline.destination);
  source.start();
  return (await offline.startRendering()).getChannelData(0);
}

export function wavOf(samples) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => [...word].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, RATE, true);
  view.setUint32(28, 2 * RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, n) => view.setInt16(44 + 2 * n, 32767 * Math.max(-1, Math.min(1, value)), true));
  return new Blob([view], { type: "audio/wav" });
}

export class Recorder {
  // One press starts, the next ends; `done` gets a WAV file.
  constructor(button, done, failed) {
    this.button = button;
    this.done = done;
    this.failed = failed;
    this.idle = button.textContent;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => this.toggle());
  }

  async toggle() {
    if (this.recorder) {
      this.recorder.stop();
      return;
    }
    this.button.disabled = true;
    try {
      const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      const stream = await navigator.mediaDevices.getUserMedia({ audio });
      const parts = [];
      this.recorder = new MediaRecorder(stream);
      this.recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
      this.recorder.addEventListener("stop", () => this.finish(stream, parts));
      this.recorder.start();
      this.timer = setTimeout(() => this.recorder?.stop(), 1000 * LONGEST);
      this.show(true);
    } catch (error) {
      this.recorder = null;
      this.failed(`The microphone cannot be used: ${error.message}`);
    }
    this.button.disabled = false;
  }

  async finish(stream, parts) {
    clearTimeout(this.timer);
    stream.getTracks().forEach((track) => track.stop());
    const type = this.recorder.mimeType;
    this.recorder = null;
    this.show(false);
    try {
      const samples = await samplesOf(new Blob(parts, { type }));
      const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "");
      this.done(new File([wavOf(samples)], `recording-${time}.wav`, { type: "audio/wav" }));
    } catch (error) {
      this.failed(`The recording cannot be used: ${error.message}`);
    }
  }

  show(on) {
    this.button.textContent = on ? "Stop" : this.idle;
    this.button.setAttribute("aria-pressed", String(on));
  }
}

function transform(re, im) {
  // In-place radix-2 FFT.
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let size = 2; size <= n; size *= 2) {
    for (let k = 0; k < size / 2; k++) {
      const c = Math.cos((-2 * Math.PI * k) / size);
      const s = Math.sin((-2 * Math.PI * k) / size);
      for (let i = k; i < n; i += size) {
        const j = i + size / 2;
        const a = re[j] * c - im[j] * s;
        const b = re[j] * s + im[j] * c;
        re[j] = re[i] - a;
        im[j] = im[i] - b;
        re[i] += a;
        im[i] += b;
      }
    }
  }
}

export async function drawSpectrogram(canvas, blob) {
  let samples;
  try {
    samples = await samplesOf(blob);
  } catch {
    canvas.hidden = true;
    return;
  }
  const width = 300;
  const height = FRAME / 4;
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(width, height);
  const levels = new Float32Array(width * height);
  let peak = -Infinity;
  for (let x = 0; x < width; x++) {
    const at = Math.floor((x * Math.max(0, samples.length - FRAME)) / (width - 1));
    const re = new Float32Array(FRAME);
    const im = new Float32Array(FRAME);
    for (let n = 0; n < FRAME; n++) {
      re[n] = (samples[at + n] ?? 0) * (0.5 - 0.5 * Math.cos((2 * Math.PI * n) / FRAME));
    }
    transform(re, im);
    for (let y = 0; y < height; y++) {
      const power = Math.max(...[0, 1].map((k) => re[2 * y + k] ** 2 + im[2 * y + k] ** 2));
      const level = 10 * Math.log10(power + 1e-9);
      levels[(height - 1 - y) * width + x] = level;
      peak = Math.max(peak, level);
    }
  }
  levels.forEach((level, n) => {
    const share = Math.max(0, 1 + (level - peak) / 70); // 70 dB of range
    image.data.set([255 * share ** 1.2, 255 * share ** 2.2, 90 + 110 * share * (1 - share), 255], 4 * n);
  });
  pen.putImageData(image, 0, 0);
}
