// How kernels go over groups. Elements are [outer][groups][inner], the last group of each outer `last` long: `inner` values
// that follow one another are a run, with parameter o * step + g. `step` is 0 where parameters come round again for each
// outer (channels), `groups` where they go on (blocks). In the `Columns` form they are [outer][groups][inner][columns], with
// a parameter for each column, o * step + g * columns + c. Pointers are bytes, lengths are elements.

/** From this many elements on a run is read as four streams: one stream leaves memory bandwidth unused beyond the caches. */
export const STREAMS_FROM: usize = 16384;

/** Columns are taken four rows at a time: one row alone is a single stream, and loads its parameters for itself alone. */
export const ROWS: usize = 4;
