"""For whoever measures: experiments as data, carried out, recorded, compared with statistics."""
