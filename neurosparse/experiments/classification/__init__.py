"""Classification: models trained under one budget, compared by accuracy, operations and energy estimates."""
