//! The files from outside: hostile detections, and the columns of results.

mod hostile;
mod hostile_parts;
mod schema;
