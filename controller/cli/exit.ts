/** Code of the error with which a command passes on the exit code of the program that it ran. */
export const programEnded = "fleetfit.program-ended";
