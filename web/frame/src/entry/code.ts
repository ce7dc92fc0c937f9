/** The entry of what a frame asks a second factor with. It runs before the frame's own script. */
import { askFactor } from "../second-factor.ts";

window.cardveilCode = askFactor;
