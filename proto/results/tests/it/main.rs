//! The files from outside: hostile detections, and the columns of results.

mod hostile;
mod schema;
