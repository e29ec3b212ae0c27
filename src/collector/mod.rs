//! What runs inside the suspect pod, and the words it speaks with quell.
