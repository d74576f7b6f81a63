// The next slice of a, into registers; under tap (ty, tx), terms slice * KT on.
#for I in AL
#if POINTWISE
a$I = terms(image$I, slice * (KT / 4u) + a_vector, true);
#else
a$I = gathered(image$I, y$I, x$I, ty, tx, slice * (KT / 4u) + a_vector);
#endif
#endfor
