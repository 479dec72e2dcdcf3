"""How few bits a field's table may have: which rows count, how much, and what that costs."""
