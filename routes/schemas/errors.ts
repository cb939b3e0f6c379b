/**
 * The body of every error.
 *
 * @module
 */
import * as z from "zod";

/** What an error's body is. */
export interface ApiErrorBody {
  /** The error. */
  error: {
    /** For people. */
    message: string;
    /** Kind of error: `invalid_request_error`, `overloaded`, … */
    type: string;
    /** Parameter at fault. */
    param: string | null;
    /** For programs. */
    code: string | null;
  };
}

/** {@linkcode ApiErrorBody}. */
export const apiErrorSchema: z.ZodType<ApiErrorBody> = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
}).meta({ id: "Error" });
