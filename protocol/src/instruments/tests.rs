mod bundles;
mod exchange;
mod forms;
mod typing;
