//! Draws the graph of a pipeline: what is made from what, coloured by what happens to it. Does not know where the picture
//! goes, nor how a plan comes about.
//!
//! The way: [`picture::picture`] says what is shown, [`collapse::collapse`] makes it small enough, [`svg::svg`] or
//! [`text`] writes it. In an SVG each step is a `<g id="step-NAME" class="step build" data-step="NAME">`: a script that
//! changes the second word of its class to `running`, `built`, `failed` and so on repaints it.

mod bundle;
pub mod collapse;
mod group;
mod layers;
mod layout;
mod order;
pub mod picture;
mod place;
mod rows;
mod shapes;
mod size;
pub mod svg;
pub mod text;

#[cfg(test)]
mod tests;
