/**
 * How people write the ten digits, as pen strokes. A digit stands in the unit square, x to the right and y down;
 * a stroke runs smoothly through its knots, but for those marked as corners, where it turns on the spot.
 */
export interface Knot {
  x: number;
  y: number;
  corner: boolean;
}
export type Stroke = readonly Knot[];
export type Glyph = readonly Stroke[];

/** Reads a stroke: knots as `x,y` in hundredths, a `!` behind those that are corners. */
function pen(knots: string): Stroke {
  return knots.split(" ").map((knot) => {
    const [x, y] = knot.split(",").map(Number.parseFloat);
    return { x: x! / 100, y: y! / 100, corner: knot.endsWith("!") };
  });
}

/** `styles[digit]`: the ways in which it is written. */
export const styles: readonly (readonly Glyph[])[] = [
  // 0: a round one, and one that overshoots where the loop closes
  [
    [pen("50,0 16,20 6,55 26,92 56,99 86,76 92,36 72,6 48,1")],
    [pen("66,6 30,10 8,45 18,86 52,100 86,70 90,28 62,2 40,12")],
  ],
  // 1: a bar, a bar with an upstroke, and one with a foot as well
  [[pen("50,0! 50,100!")], [pen("26,26! 55,0! 53,100!")], [pen("30,22! 54,0! 52,100!"), pen("24,100! 82,99!")]],
  // 2: with a corner at the foot, and with a loop there
  [
    [pen("10,24 30,3 66,2 86,26 68,56 36,82 8,100! 94,98!")],
    [pen("12,20 40,0 80,14 78,46 42,86 16,98 8,84 30,80 60,95 95,94")],
  ],
  // 3: round, and with a flat roof
  [
    [pen("14,14 44,0 80,12 72,38 40,47! 80,56 90,80 54,100 10,90")],
    [pen("12,2! 84,2! 44,40! 80,50 90,76 56,100 10,90")],
  ],
  // 4: open, closed in one stroke, and open with a round elbow
  [
    [pen("24,2! 8,56! 92,54!"), pen("70,12! 64,100!")],
    [pen("68,100! 70,0! 6,66! 96,66!")],
    [pen("20,4 14,36 34,52 80,46"), pen("82,2! 74,100!")],
  ],
  // 5: the roof drawn last, and all in one stroke
  [
    [pen("26,4! 18,46! 56,40 88,66 62,97 10,93"), pen("26,3! 88,1!")],
    [pen("86,2! 28,6! 22,42! 60,44 84,70 54,99 8,90")],
  ],
  // 6: bent, and with a straight back
  [
    [pen("74,4 36,18 12,56 20,90 54,100 86,78 68,52 36,56 16,76")],
    [pen("62,0 30,38 12,74 36,100 76,92 80,64 50,52 20,70")],
  ],
  // 7: plain, with a bar through it, and with a hook and a bent stem
  [
    [pen("8,3! 90,2! 40,100!")],
    [pen("8,3! 90,2! 38,100!"), pen("30,52! 86,48!")],
    [pen("10,20! 12,4! 90,4! 58,42 46,100")],
  ],
  // 8: in one stroke that crosses itself, and as two rings
  [
    [pen("78,14 46,0 20,20 48,45 84,72 56,100 16,80 44,50 76,24 70,8")],
    [pen("50,46 20,24 48,0 80,22 52,46"), pen("50,46 12,72 48,100 88,74 52,46")],
  ],
  // 9: with a straight stem, and with a tail that curls
  [
    [pen("80,20 48,0 14,24 36,50 72,36 80,12! 74,50 66,100")],
    [pen("80,22 50,1 16,20 30,48 70,38 82,16! 86,56 62,96 20,92")],
  ],
];
