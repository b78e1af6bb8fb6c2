/** The weight of a new observation, as ONNX Runtime's tool has it. */
const CONSTANT = 0.01;

/** Plain data, for JSON. */
export interface AverageState {
  readonly count: number;
  readonly first: number;
  readonly sum: number;
}

/**
 * An exponential moving average: the first observation, then 0.99 of what it was and 0.01 of each that follows. It is kept as
 * `sum + 0.99^count * first`, `sum` as if the average had begun with 0, so that the averages of consecutive parts can be put
 * together.
 */
export class MovingAverage {
  private constructor(
    private count: number,
    private first: number,
    private sum: number,
  ) {}

  static empty(): MovingAverage {
    return new MovingAverage(0, 0, 0);
  }

  static from({ count, first, sum }: AverageState): MovingAverage {
    return new MovingAverage(count, first, sum);
  }

  add(value: number): void {
    if (this.count === 0) this.first = value;
    this.sum = (1 - CONSTANT) * this.sum + CONSTANT * value;
    this.count++;
  }

  /** Takes what was observed after this. */
  append(later: MovingAverage): void {
    if (later.count === 0) return;
    if (this.count === 0) this.first = later.first;
    this.sum = (1 - CONSTANT) ** later.count * this.sum + later.sum;
    this.count += later.count;
  }

  get value(): number {
    return this.sum + (1 - CONSTANT) ** this.count * this.first;
  }

  toJSON(): AverageState {
    return { count: this.count, first: this.first, sum: this.sum };
  }
}
